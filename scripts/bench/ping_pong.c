/* The yardstick of scripts/bench/messages for round trips: two processes, a SOCK_SEQPACKET pair, and an epoll each. Prints `p50_us=N
 * p99_us=N`, as the others do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { TRIPS = 20000, BYTES = 76 }; /* 64 and a header */

static char buffer[65536];

static int watch(int socket) {
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event)) {
        perror("epoll");
        exit(1);
    }
    return epoll;
}

static void send_one(int socket) {
    struct iovec part = {buffer, BYTES};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != BYTES) {
        perror("sendmsg");
        exit(1);
    }
}

/* 0: the other end is gone. */
static int receive_one(int epoll, int socket) {
    struct epoll_event event;
    struct iovec part = {buffer, sizeof buffer};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    epoll_wait(epoll, &event, 1, -1);
    return recvmsg(socket, &message, 0) == BYTES;
}

static double microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int by_size(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(void) {
    static double times[TRIPS];
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair)) {
        perror("socketpair");
        return 1;
    }
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        for (int epoll = watch(pair[1]); receive_one(epoll, pair[1]);) send_one(pair[1]);
        return 0;
    }
    close(pair[1]);
    int epoll = watch(pair[0]);
    for (int trip = 0; trip < TRIPS; trip++) {
        double start = microseconds();
        send_one(pair[0]);
        if (!receive_one(epoll, pair[0])) {
            fprintf(stderr, "ping_pong: no answer\n");
            return 1;
        }
        times[trip] = microseconds() - start;
    }
    qsort(times, TRIPS, sizeof times[0], by_size);
    printf("p50_us=%.2f p99_us=%.2f\n", times[TRIPS / 2], times[TRIPS * 99 / 100]);
    return 0;
}
