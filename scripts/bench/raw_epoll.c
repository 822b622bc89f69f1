/*
 * The yardstick: what an HTTP server costs when it is nothing but its system calls. Forked workers, a listener with
 * SO_REUSEPORT each, one edge-triggered epoll each, answers that were made beforehand. It only looks for the ends of
 * the requests: no parser, no limits, no deadlines, no drain.
 *
 *   raw_epoll PORT WORKERS ANSWER LAST_ANSWER
 *
 * The answers are files: what the server under test sends to `GET /`, and what it sends when the client asks for
 * `Connection: close`. So both move the same bytes. Runs until it is killed; the workers die with the first process.
 *
 * A client that does not read its answers is dropped as soon as they do not fit into the socket's buffer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 512,     /* per epoll_wait: one call brings what all connections of a run have to say */
    INPUT = 64 << 10, /* one buffer for all connections; more than a pipelining client sends at once */
    BATCH = 64,       /* answers that one send can carry */
    CONNECTIONS = 1 << 16,
};

/* Half a request, until the other half comes; by descriptor. Nobody writes to these pages until somebody sends one. */
static struct rest {
    char *bytes;
    size_t length;
} rests[CONNECTIONS];

static char input[INPUT];

/* BATCH answers in a row: a batch of pipelined requests is answered by one send of a part of it, and nothing is
 * copied before. */
static char *answers, *last_answer;
static size_t answer_length, last_answer_length;

static void fail(const char *step)
{
    perror(step);
    _exit(1);
}

static char *contents(const char *path, size_t *length)
{
    enum { MOST = 16 << 10 };
    char *bytes = malloc(MOST);
    FILE *file = fopen(path, "rb");
    if (!file || !bytes)
        fail(path);
    *length = fread(bytes, 1, MOST, file);
    fclose(file);
    return bytes;
}

static void read_answers(const char *answer_path, const char *last_answer_path)
{
    char *answer = contents(answer_path, &answer_length);
    answers = malloc(answer_length * BATCH);
    if (!answers)
        fail("malloc");
    for (size_t at = 0; at < BATCH; at++)
        memcpy(answers + at * answer_length, answer, answer_length);
    free(answer);
    last_answer = contents(last_answer_path, &last_answer_length);
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* Accepted sockets inherit TCP_NODELAY: no setsockopt per connection. */
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)
        || setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)
        || setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)
        || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, SOMAXCONN))
        fail("listen");
    return listener;
}

/* EPOLLET: an event per arrival, none for what is known. EPOLLRDHUP: tells of the peer's end in the same event as
 * its last bytes. Not EPOLLOUT: it would only announce, once per connection, that an empty buffer has room. */
static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

/* Until there is none left, as an edge-triggered listener needs it. accept4 makes the socket non-blocking by the
 * way; nobody asks who the peer is. What a client has sent by now is announced by the next epoll_wait, together with
 * what the others have. */
static void accept_all(int epoll, int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= CONNECTIONS)
            close(fd);
        else if (fd >= 0)
            watch(epoll, fd);
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* close() takes the descriptor out of the epoll and sends the FIN: neither EPOLL_CTL_DEL nor shutdown. */
static void drop(int fd)
{
    if (rests[fd].bytes) {
        free(rests[fd].bytes);
        rests[fd] = (struct rest){0};
    }
    close(fd);
}

static int send_all(int fd, const char *bytes, size_t length)
{
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* The complete requests at the beginning of some input. */
struct requests {
    size_t count;
    int close; /* the last of them asks for it */
    const char *end;
};

/* A request ends with an empty line. Line by line, because memchr is the fastest search there is, and because the
 * one header that matters is then found by where it begins. */
static struct requests find(const char *line, const char *end)
{
    static const char close_line[] = "Connection: close\r";
    struct requests found = {.end = line};
    const char *feed;
    int close = 0;
    while (!found.close && (feed = memchr(line, '\n', (size_t)(end - line)))) {
        size_t length = (size_t)(feed - line);
        close |= length == sizeof close_line - 1 && !memcmp(line, close_line, length);
        line = feed + 1;
        if (length == 1) {
            found.count++;
            found.close = close;
            found.end = line;
        }
    }
    return found;
}

/* One send per batch. Whether the connection goes on. */
static int answer(int fd, struct requests requests)
{
    size_t plain = requests.count - (size_t)requests.close;
    while (plain > 0) {
        size_t now = plain < BATCH ? plain : BATCH;
        if (!send_all(fd, answers, now * answer_length))
            return 0;
        plain -= now;
    }
    if (requests.close)
        send_all(fd, last_answer, last_answer_length);
    return !requests.close;
}

/* Half a request waits for the other half in memory of its own, so that the big buffer can be everybody's. */
static int keep(int fd, const char *from, const char *end)
{
    struct rest *rest = &rests[fd];
    size_t length = (size_t)(end - from);
    if (length == rest->length)
        return 1;
    free(rest->bytes);
    *rest = (struct rest){0};
    if (length == 0)
        return 1;
    if (length == INPUT || !(rest->bytes = malloc(length)))
        return 0;
    memcpy(rest->bytes, from, length);
    rest->length = length;
    return 1;
}

/* Reads until a read brings less than it could: that saves the read that would only say EAGAIN. What comes later is
 * another edge. */
static void serve(int fd, uint32_t events)
{
    for (;;) {
        size_t before = rests[fd].length;
        if (before > 0)
            memcpy(input, rests[fd].bytes, before);
        ssize_t got = recv(fd, input + before, INPUT - before, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0)
            break;
        const char *end = input + before + got;
        struct requests requests = find(input, end);
        if (requests.count > 0 && !answer(fd, requests))
            break;
        if (!keep(fd, requests.end, end))
            break;
        if ((size_t)got < INPUT - before && !(events & EPOLLRDHUP))
            return;
    }
    drop(fd);
}

static void work(uint16_t port)
{
    static struct epoll_event events[EVENTS];
    int listener = listen_at(port), epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll_create1");
    watch(epoll, listener);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int at = 0; at < count; at++) {
            if (events[at].data.fd == listener)
                accept_all(epoll, listener);
            else
                serve(events[at].data.fd, events[at].events);
        }
    }
}

int main(int count, char **words)
{
    if (count != 5) {
        fprintf(stderr, "usage: %s PORT WORKERS ANSWER LAST_ANSWER\n", words[0]);
        return 2;
    }
    pid_t parent = getpid();
    read_answers(words[3], words[4]);
    for (int worker = atoi(words[2]); worker > 0; worker--) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
                _exit(1);
            work((uint16_t)atoi(words[1]));
        }
    }
    for (;;)
        pause();
}
