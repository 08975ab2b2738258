/* Many viewers in one process, so that what they cost is small beside what serves them.
 *
 *   viewers stream  ADDRESS PORT PATH COUNT WARM_S MEASURE_S STAMP [PEM...]
 *   viewers objects ADDRESS PORT PATH COUNT WARM_S MEASURE_S EVERY_MS [PEM...]
 *
 * PATH may be several by commas, which connections take in turn.
 * stream: COUNT WebSockets that read; STAMP is where in a binary message eight big-endian bytes of
 * CLOCK_MONOTONIC microseconds stand, by which its delay is told. objects: COUNT connections that
 * ask for PATH with %d replaced by 0, 1, 2, ... every EVERY_MS, at moments spread evenly; the delay
 * is from asking to the last byte. With PEM files (key and chain each) it is TLS, the connections
 * taking the files in turn; "-" is TLS without a certificate of one's own. The server is not
 * verified: this is a load, not a client.
 *
 * Prints a line each when all are connected, when measuring begins and when it ends, and then
 * {"viewers", "messages", "bytes", "median_ms", "p95_ms", "lost"} as JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER, HEAD, BODY };
enum { JOIN_US = 4000, STASH_MAX = 128, BUCKET_US = 100, BUCKETS = 100000, ANSWER_MAX = 4096 };

struct viewer {
    int fd;
    SSL *tls;
    int state;
    uint8_t head[ANSWER_MAX];
    size_t head_bytes;
    uint64_t left;
    int opcode;
    uint8_t stash[STASH_MAX];
    size_t stashed;
    int64_t asked_us, due_us;
    unsigned number;
    const char *path;
    int is_waiting;
};

static struct viewer *viewers;
static int count, is_stream, poller;
static size_t stamp_at;
static const char *paths[64];
static int path_count;
static uint32_t delays[BUCKETS];
static uint64_t messages, bytes_taken;
static int is_measuring, lost;

static int64_t now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void send_all(struct viewer *v, const void *data, size_t size) {
    if (v->tls) {
        if (SSL_write(v->tls, data, (int)size) != (int)size) lost++;
    } else if (send(v->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) {
        lost++;
    }
}

static void note_delay(int64_t since_us) {
    if (!is_measuring) return;
    int64_t bucket = (now_us() - since_us) / BUCKET_US;
    if (bucket < 0 || bucket > 6 * BUCKETS) return; /* not a stamp: a part of a record */
    if (bucket >= BUCKETS) bucket = BUCKETS - 1;
    delays[bucket]++;
    messages++;
}

static void ask(struct viewer *v) {
    char name[512], text[1024];
    snprintf(name, sizeof name, v->path, v->number++);
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: box\r\n\r\n", name);
    v->asked_us = now_us();
    v->is_waiting = 1;
    send_all(v, text, (size_t)size);
}

static void end_message(struct viewer *v) {
    if (!is_stream) {
        note_delay(v->asked_us);
        v->is_waiting = 0;
        v->state = ANSWER;
        v->head_bytes = 0;
        return;
    }
    if (v->opcode == 2 && v->stashed >= stamp_at + 8) {
        int64_t at = 0;
        for (int i = 0; i < 8; i++) at = at << 8 | v->stash[stamp_at + i];
        if (at) note_delay(at);
    } else if (v->opcode == 9) {
        static const uint8_t pong[6] = {0x8A, 0x80, 0, 0, 0, 0};
        send_all(v, pong, sizeof pong);
    }
    v->state = HEAD;
    v->head_bytes = 0;
}

static size_t read_answer(struct viewer *v, const uint8_t *data, size_t size) {
    size_t used = 0;
    while (used < size && v->head_bytes < ANSWER_MAX - 1) {
        v->head[v->head_bytes++] = data[used++];
        if (v->head_bytes < 4 || memcmp(v->head + v->head_bytes - 4, "\r\n\r\n", 4)) continue;
        v->head[v->head_bytes] = 0;
        const char *text = (const char *)v->head;
        if (strncmp(text, is_stream ? "HTTP/1.1 101" : "HTTP/1.1 200", 12)) {
            fprintf(stderr, "%s\n", text);
            exit(1);
        }
        v->stashed = 0;
        if (is_stream) {
            v->state = HEAD;
        } else {
            const char *length = strcasestr(text, "content-length:");
            v->left = length ? strtoull(length + 15, NULL, 10) : 0;
            v->state = BODY;
            if (!v->left) end_message(v);
        }
        v->head_bytes = 0;
        break;
    }
    return used;
}

static size_t read_head(struct viewer *v, const uint8_t *data, size_t size) {
    size_t used = 0;
    while (used < size) {
        v->head[v->head_bytes++] = data[used++];
        if (v->head_bytes < 2) continue;
        size_t wide = v->head[1] == 126 ? 2 : v->head[1] == 127 ? 8 : 0;
        if (v->head_bytes < 2 + wide) continue;
        v->left = wide ? 0 : v->head[1];
        for (size_t i = 0; i < wide; i++) v->left = v->left << 8 | v->head[2 + i];
        v->opcode = v->head[0] & 15;
        v->stashed = 0;
        v->state = BODY;
        if (!v->left) end_message(v);
        break;
    }
    return used;
}

static void take(struct viewer *v, const uint8_t *data, size_t size) {
    if (is_measuring) bytes_taken += size;
    while (size) {
        size_t used;
        if (v->state == ANSWER) {
            used = read_answer(v, data, size);
        } else if (v->state == HEAD) {
            used = read_head(v, data, size);
        } else {
            used = v->left < size ? v->left : size;
            size_t room = STASH_MAX - v->stashed, more = used < room ? used : room;
            memcpy(v->stash + v->stashed, data, more);
            v->stashed += more;
            v->left -= used;
            if (!v->left) end_message(v);
        }
        data += used;
        size -= used;
    }
}

static void drop(struct viewer *v) {
    if (v->fd >= 0) close(v->fd);
    v->fd = -1;
    lost++;
}

static void receive(struct viewer *v) {
    static uint8_t room[1 << 18];
    for (;;) {
        ssize_t got;
        if (v->tls) {
            got = SSL_read(v->tls, room, sizeof room);
            if (got <= 0) {
                if (SSL_get_error(v->tls, (int)got) != SSL_ERROR_WANT_READ) drop(v);
                ERR_clear_error();
                return;
            }
        } else {
            got = recv(v->fd, room, sizeof room, 0);
            if (got <= 0) {
                if (got == 0 || (errno != EAGAIN && errno != EINTR)) drop(v);
                return;
            }
        }
        take(v, room, (size_t)got);
        if (!v->tls && got < (ssize_t)sizeof room) return;
    }
}

static SSL_CTX *open_context(const char *pem) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    if (strcmp(pem, "-") &&
        (SSL_CTX_use_certificate_chain_file(context, pem) != 1 ||
         SSL_CTX_use_PrivateKey_file(context, pem, SSL_FILETYPE_PEM) != 1)) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    return context;
}

static void join(struct viewer *v, const struct sockaddr_in *server, SSL_CTX *context) {
    v->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(v->fd, (const struct sockaddr *)server, sizeof *server)) fail("connect");
    int on = 1;
    setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (context) {
        v->tls = SSL_new(context);
        SSL_set_fd(v->tls, v->fd);
        if (SSL_connect(v->tls) != 1) {
            ERR_print_errors_fp(stderr);
            exit(1);
        }
    }
    if (is_stream) {
        char text[1024];
        int size = snprintf(text, sizeof text,
                            "GET %s HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                            v->path);
        send_all(v, text, (size_t)size);
    }
    fcntl(v->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};
    epoll_ctl(poller, EPOLL_CTL_ADD, v->fd, &event);
}

static void receive_ready(int wait_ms) {
    static struct epoll_event events[256];
    int found = epoll_wait(poller, events, 256, wait_ms);
    for (int i = 0; i < found; i++) receive(events[i].data.ptr);
}

static void pump(int64_t until_us, int64_t every_us) {
    for (int64_t at = now_us(); at < until_us; at = now_us()) {
        receive_ready(is_stream ? 20 : 1);
        if (is_stream) continue;
        for (int i = 0; i < count; i++) {
            struct viewer *v = &viewers[i];
            if (v->fd < 0 || v->is_waiting || at < v->due_us) continue;
            v->due_us += every_us;
            ask(v);
        }
    }
}

static double percentile(double share) {
    uint64_t wanted = (uint64_t)(share * (double)messages), seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += delays[i];
        if (seen > wanted) return (i + 0.5) * BUCKET_US / 1000.0;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "see the head of viewers.c\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    is_stream = !strcmp(argv[1], "stream");
    for (char *each = strtok(argv[4], ","); each && path_count < 64; each = strtok(NULL, ","))
        paths[path_count++] = each;
    count = atoi(argv[5]);
    double warm_s = atof(argv[6]), measure_s = atof(argv[7]);
    int64_t every_us = atoll(argv[8]) * 1000;
    stamp_at = (size_t)atoll(argv[8]);
    int pems = argc - 9;
    SSL_CTX **contexts = calloc((size_t)(pems ? pems : 1), sizeof *contexts);
    for (int i = 0; i < pems; i++) contexts[i] = open_context(argv[9 + i]);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    viewers = calloc((size_t)count, sizeof *viewers);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) {
        viewers[i].path = paths[i % path_count];
        join(&viewers[i], &server, pems ? contexts[i % pems] : NULL);
        /* Those of a school come one after the other, not all in one moment. */
        for (int64_t until = now_us() + JOIN_US; is_stream && now_us() < until;) receive_ready(1);
    }
    int64_t at = now_us();
    for (int i = 0; i < count; i++) viewers[i].due_us = at + every_us * i / (count ? count : 1);
    printf("connected\n");
    fflush(stdout);
    pump(at + (int64_t)(warm_s * 1e6), every_us);
    printf("begin\n");
    fflush(stdout);
    is_measuring = 1;
    pump(now_us() + (int64_t)(measure_s * 1e6), every_us);
    is_measuring = 0;
    printf("end\n");
    fflush(stdout);
    printf("{\"viewers\":%d,\"messages\":%llu,\"bytes\":%llu,\"median_ms\":%.2f,"
           "\"p95_ms\":%.2f,\"lost\":%d}\n",
           count, (unsigned long long)messages, (unsigned long long)bytes_taken, percentile(0.5),
           percentile(0.95), lost);
    return 0;
}
