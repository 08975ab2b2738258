/* The ceiling: one lesson to every WebSocket that joins, by the least a program in C must do.
 *
 *   sender ADDRESS PORT PICTURE_BYTES SOUND_BYTES
 *
 * A picture each 40 ms, a sound each 43 ms: one send() a viewer, of a message framed once. Eight
 * bytes of CLOCK_MONOTONIC microseconds stand at byte 20 of it. No TLS, no queue: a viewer that
 * does not take a whole message is cut off. Prints "ready".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { VIEWERS_MAX = 20000, HEAD = 4, STAMP_AT = 20 };

static int viewers[VIEWERS_MAX], count;
static uint8_t message[HEAD + 65536];

static void fan_out(int size) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t stamp = (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
    for (int i = 0; i < 8; i++) message[HEAD + STAMP_AT + i] = (uint8_t)(stamp >> (56 - 8 * i));
    message[0] = 0x82;
    message[1] = 126;
    message[2] = (uint8_t)(size >> 8);
    message[3] = (uint8_t)size;
    for (int i = 0; i < count; i++) {
        if (send(viewers[i], message, (size_t)(HEAD + size), MSG_NOSIGNAL | MSG_DONTWAIT) !=
            HEAD + size) {
            close(viewers[i]);
            viewers[i--] = viewers[--count];
        }
    }
}

static void admit(int listening) {
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";
    char request[4096];
    int viewer = accept4(listening, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (viewer < 0 || count == VIEWERS_MAX) return;
    setsockopt(viewer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (recv(viewer, request, sizeof request, 0) <= 0) {
        close(viewer);
        return;
    }
    send(viewer, answer, sizeof answer - 1, MSG_NOSIGNAL);
    viewers[count++] = viewer;
}

static int every(int poller, long ms) {
    struct itimerspec when = {{0, ms * 1000000}, {0, ms * 1000000}};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    timerfd_settime(timer, 0, &when, NULL);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = timer};
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    return timer;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &place.sin_addr);
    if (bind(listening, (struct sockaddr *)&place, sizeof place) || listen(listening, 1024)) {
        perror("listen");
        return 1;
    }
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening};
    epoll_ctl(poller, EPOLL_CTL_ADD, listening, &event);
    int picture = every(poller, 40), sound = every(poller, 43);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event found[8];
        int ready = epoll_wait(poller, found, 8, -1);
        for (int i = 0; i < ready; i++) {
            uint64_t ticks;
            int from = found[i].data.fd;
            if (from == listening) {
                admit(listening);
            } else if (read(from, &ticks, sizeof ticks) == sizeof ticks) {
                fan_out(atoi(from == picture ? argv[3] : argv[4]));
                (void)sound;
            }
        }
    }
}
