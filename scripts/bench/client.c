/*
 * The client for what wrk does not do: an exact number of requests, connections that stay open, one connection in
 * closed loop, and a server that is still starting. All answers of a server are as long as its first one.
 *
 *   client load PORT CONNECTIONS REQUESTS DEPTH keep|close
 *       "ready" once it is connected, REQUESTS requests after a line on stdin, "done", ends with its stdin. DEPTH
 *       requests are in flight per connection; with close there is a new connection for each.
 *   client latency PORT SECONDS
 *       one connection, one request at a time; never sleeps, since a client that has to be woken would measure itself.
 *       Prints the round trips in nanoseconds: p50 p99 count.
 *   client first PORT CPU COMMAND…
 *       starts the command on that CPU and prints the nanoseconds from the fork to its first answer, then ends it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define CLOSE "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

enum { MOST_DEPTH = 256, PATIENCE_S = 20, SAMPLES = 4 << 20 };

static struct sockaddr_in address;
static char input[64 << 10];

static void fail(const char *step)
{
    fprintf(stderr, "client: %s: %s\n", step, strerror(errno));
    exit(1);
}

static void fail_because(const char *reason)
{
    fprintf(stderr, "client: %s\n", reason);
    exit(1);
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* -1: nobody listens. */
static int try_connect(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (fd < 0)
        fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static int connected(void)
{
    int fd = try_connect();
    if (fd < 0)
        fail("connect");
    return fd;
}

static int asked(int fd, const char *requests, size_t length)
{
    return send(fd, requests, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static int is_answer(ssize_t length)
{
    return length > 12 && !memcmp(input, "HTTP/1.1 200", 12) && memmem(input, (size_t)length, "\r\n\r\n", 4);
}

/* The length of one answer. Small answers come in one piece, but some servers send the body behind the head. */
static size_t answer_length(const char *request)
{
    int fd = connected();
    size_t length = 0;
    ssize_t got;
    if (!asked(fd, request, strlen(request)))
        fail("send");
    while ((got = recv(fd, input + length, sizeof input - length, 0)) > 0) {
        length += (size_t)got;
        const char *field = strcasestr(input, "\r\ncontent-length:"), *body = memmem(input, length, "\r\n\r\n", 4);
        if (field && body && (size_t)(body - input) + 4 + strtoul(field + 17, NULL, 10) == length)
            break;
    }
    if (!is_answer((ssize_t)length))
        fail_because("no answer with status 200");
    close(fd);
    return length;
}

/* load */

static struct {
    size_t connections, requests, depth, begun, ended, length;
    int close, epoll;
    char batch[MOST_DEPTH * sizeof KEEP];
} load;

struct connection {
    int fd;
    size_t asked;    /* requests */
    size_t received; /* bytes of their answers */
};

static void watch(struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, connection->fd, &event))
        fail("epoll_ctl");
}

static void ask(struct connection *connection)
{
    size_t left = load.requests - load.begun;
    connection->asked = left < load.depth ? left : load.depth;
    connection->received = 0;
    load.begun += connection->asked;
    if (connection->asked == 0)
        return;
    const char *request = load.close ? CLOSE : load.batch;
    size_t length = load.close ? sizeof CLOSE - 1 : connection->asked * (sizeof KEEP - 1);
    if (load.close) {
        connection->fd = connected();
        watch(connection);
    }
    if (!asked(connection->fd, request, length))
        fail("send");
}

/* A connection that the server closes counts when it is closed, for its close is a part of what it did. */
static void receive(struct connection *connection)
{
    ssize_t got = recv(connection->fd, input, sizeof input, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got < 0)
        fail("recv");
    connection->received += (size_t)got;
    if (load.close ? got > 0 : connection->received < connection->asked * load.length) {
        if (got == 0)
            fail_because("the server has closed a connection");
        return;
    }
    if (connection->received != connection->asked * load.length)
        fail_because("an answer is not as long as the first one");
    load.ended += connection->asked;
    if (load.close)
        close(connection->fd);
    ask(connection);
}

static void wait_for_word(void)
{
    char line[16];
    if (!fgets(line, sizeof line, stdin))
        exit(0);
}

static void run_load(char **words)
{
    load.connections = strtoul(words[0], NULL, 10);
    load.requests = strtoul(words[1], NULL, 10);
    load.depth = strtoul(words[2], NULL, 10);
    load.close = !strcmp(words[3], "close");
    load.length = answer_length(load.close ? CLOSE : KEEP);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.depth < 1 || load.depth > MOST_DEPTH || (load.close && load.depth != 1))
        fail_because("no such depth");
    for (size_t at = 0; at < load.depth; at++)
        memcpy(load.batch + at * (sizeof KEEP - 1), KEEP, sizeof KEEP - 1);
    struct connection *connections = calloc(load.connections, sizeof *connections);
    for (size_t at = 0; at < load.connections && !load.close; at++) {
        connections[at].fd = connected();
        watch(&connections[at]);
    }
    puts("ready");
    wait_for_word();
    for (size_t at = 0; at < load.connections; at++)
        ask(&connections[at]);
    while (load.ended < load.requests) {
        struct epoll_event events[256];
        int count = epoll_wait(load.epoll, events, 256, PATIENCE_S * 1000);
        if (count == 0)
            fail_because("no answer");
        for (int at = 0; at < count; at++)
            receive(events[at].data.ptr);
    }
    puts("done");
    wait_for_word();
}

/* latency */

static int ascending(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static void run_latency(double seconds)
{
    size_t count = 0, length = answer_length(KEEP);
    uint32_t *samples = malloc(SAMPLES * sizeof *samples);
    int fd = connected();
    uint64_t begin = nanoseconds(), until = begin + (uint64_t)(seconds * 1e9);
    for (uint64_t before = begin; before < until && count < SAMPLES;) {
        size_t received = 0;
        if (!asked(fd, KEEP, sizeof KEEP - 1))
            fail("send");
        while (received < length) {
            ssize_t got = recv(fd, input, sizeof input, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN))
                fail("recv");
            received += got > 0 ? (size_t)got : 0;
        }
        uint64_t now = nanoseconds();
        samples[count++] = (uint32_t)(now - before);
        before = now;
    }
    qsort(samples, count, sizeof *samples, ascending);
    printf("%u %u %zu\n", samples[count / 2], samples[count / 100 * 99], count);
}

/* first */

static pid_t start(int cpu, char **command)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return pid;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    setpgid(0, 0);
    if (!sched_setaffinity(0, sizeof set, &set))
        execvp(command[0], command);
    fail(command[0]);
    return 0;
}

/* A connection that is reset was made before anybody was there to answer it. */
static int is_answered(void)
{
    int fd = try_connect();
    if (fd < 0)
        return 0;
    int answered = asked(fd, CLOSE, sizeof CLOSE - 1) && is_answer(recv(fd, input, sizeof input, 0));
    close(fd);
    return answered;
}

static void run_first(int cpu, char **command)
{
    uint64_t begin = nanoseconds();
    pid_t server = start(cpu, command);
    while (!is_answered())
        if (nanoseconds() - begin > PATIENCE_S * 1000000000ull) {
            kill(-server, SIGKILL);
            fail_because("no answer");
        }
    uint64_t end = nanoseconds();
    kill(-server, SIGKILL);
    waitpid(server, NULL, 0);
    printf("%llu\n", (unsigned long long)(end - begin));
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)(count > 2 ? atoi(words[2]) : 0));
    if (count == 7 && !strcmp(words[1], "load"))
        run_load(words + 3);
    else if (count == 4 && !strcmp(words[1], "latency"))
        run_latency(atof(words[3]));
    else if (count > 4 && !strcmp(words[1], "first"))
        run_first(atoi(words[3]), words + 4);
    else
        fail_because("see the top of client.c for what it can do");
    return 0;
}
