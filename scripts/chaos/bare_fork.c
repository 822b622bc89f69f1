/*
 * The yardstick: what the bare system calls cost on this machine, without any library.
 *
 *   bare_fork kill COUNT PAUSE_MS   2 workers; one is killed every PAUSE_MS; microseconds until its replacement listens, one per line
 *   bare_fork start WORKERS COUNT   microseconds until all workers listen, one line per start
 *   bare_fork hold WORKERS          prints the workers' pids and waits; ends with its parent, and its workers with it
 *
 * A worker is: fork, die with the parent, socket, SO_REUSEPORT, bind, listen, one byte to the parent, then wait for ever.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024 };

struct worker {
    pid_t pid;
    int channel;
};

static struct worker workers[MOST];
static struct sockaddr_in address;

static void fail(const char *step)
{
    perror(step);
    _exit(1);
}

static double microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void rest_until(double when)
{
    double left = when - microseconds();
    if (left > 0)
        usleep((useconds_t)left);
}

static int bound(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) || bind(fd, (struct sockaddr *)&address, sizeof address))
        fail("bind");
    return fd;
}

static void work(int channel, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(1);
    if (listen(bound(), 4096) || write(channel, "l", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void start(struct worker *worker)
{
    int pair[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        fail("socketpair");
    worker->channel = pair[0];
    worker->pid = fork();
    if (worker->pid < 0)
        fail("fork");
    if (worker->pid == 0)
        work(pair[1], parent);
    close(pair[1]);
}

static void await_listening(struct worker *worker)
{
    char byte;
    if (read(worker->channel, &byte, 1) != 1)
        fail("a worker did not start");
}

static void end(struct worker *worker)
{
    kill(worker->pid, SIGKILL);
    if (waitpid(worker->pid, NULL, 0) != worker->pid)
        fail("waitpid");
    close(worker->channel);
}

static void start_all(int count)
{
    for (int i = 0; i < count; i++)
        start(&workers[i]);
    for (int i = 0; i < count; i++)
        await_listening(&workers[i]);
}

static void end_all(int count)
{
    for (int i = 0; i < count; i++)
        end(&workers[i]);
}

static void measure_kills(int count, int pause_ms)
{
    start_all(2);
    for (int i = 0; i < count; i++) {
        struct worker *victim = &workers[i % 2];
        double begun = microseconds();
        end(victim);
        start(victim);
        await_listening(victim);
        printf("%.1f\n", microseconds() - begun);
        rest_until(begun + pause_ms * 1e3);
    }
    end_all(2);
}

static void measure_starts(int count, int repeats)
{
    for (int i = 0; i < repeats; i++) {
        double begun = microseconds();
        start_all(count);
        printf("%.1f\n", microseconds() - begun);
        end_all(count);
    }
}

static void hold(int count)
{
    start_all(count);
    for (int i = 0; i < count; i++)
        printf("%d\n", workers[i].pid);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    int first = argc > 2 ? atoi(argv[2]) : 0, second = argc > 3 ? atoi(argv[3]) : 0;
    socklen_t size = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* Keeps the port for the workers; it never listens. */
    if (getsockname(bound(), (struct sockaddr *)&address, &size))
        fail("getsockname");
    if (!strcmp(what, "kill") && second > 0)
        measure_kills(first, second);
    else if (!strcmp(what, "start") && first > 0 && first <= MOST)
        measure_starts(first, second);
    else if (!strcmp(what, "hold") && first > 0 && first <= MOST)
        hold(first);
    else {
        fputs("usage: bare_fork kill COUNT PAUSE_MS | start WORKERS COUNT | hold WORKERS\n", stderr);
        return 2;
    }
    return 0;
}
