/* A proxy that makes the loopback as slow as a distance: latency PORT TARGET_PORT RTT_MS
 *
 * Every byte is held for half the round trip, each way; the first bytes of a connection are held
 * for one round trip more, which is what connecting takes. There is no limit of the rate, nothing
 * is lost, and there is no slow start.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 512, SIZE = 65536, HELD = 4 << 20 };

struct block {
    struct block *next;
    int64_t due;
    size_t at, size;
    char data[SIZE];
};

struct way { /* one direction of a connection */
    int from, to, ended;
    struct block *first, *last;
    size_t held;
    int64_t not_before;
};

static struct way ways[MOST]; /* two for each connection, one after the other */
static int count;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct sockaddr_in local(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void prepare(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void take(struct way *w, int64_t delay) {
    struct block *b = malloc(sizeof *b);
    ssize_t size = read(w->from, b->data, SIZE);
    if (size <= 0) {
        w->ended |= size == 0 || (errno != EAGAIN && errno != EINTR);
        free(b);
        return;
    }
    b->next = NULL;
    b->at = 0;
    b->size = size;
    b->due = now() + delay;
    if (b->due < w->not_before) b->due = w->not_before;
    w->held += size;
    if (w->last) w->last->next = b; else w->first = b;
    w->last = b;
}

static void give(struct way *w) {
    while (w->first && w->first->due <= now()) {
        struct block *b = w->first;
        ssize_t size = write(w->to, b->data + b->at, b->size - b->at);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR) w->ended = 2;
            return;
        }
        b->at += size;
        w->held -= size;
        if (b->at < b->size) return;
        w->first = b->next;
        if (!w->first) w->last = NULL;
        free(b);
    }
    if (w->ended == 1 && !w->first) {
        shutdown(w->to, SHUT_WR);
        w->ended = 2;
    }
}

static void drop(int n) { /* both ways of a connection that is over */
    for (int i = n; i < n + 2; i++)
        while (ways[i].first) {
            struct block *b = ways[i].first;
            ways[i].first = b->next;
            free(b);
        }
    close(ways[n].from);
    close(ways[n].to);
    count -= 2;
    ways[n] = ways[count];
    ways[n + 1] = ways[count + 1];
}

static void join(int listener, int port, int64_t round_trip) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) return;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = local(port);
    if (count + 2 > MOST || connect(server, (struct sockaddr *)&a, sizeof a)) {
        close(client);
        close(server);
        return;
    }
    prepare(client);
    prepare(server);
    ways[count++] = (struct way){
        .from = client, .to = server, .not_before = now() + round_trip + round_trip / 2};
    ways[count++] = (struct way){.from = server, .to = client};
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int64_t round_trip = atof(argv[3]) * 1e6;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = local(atoi(argv[1]));
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 256)) return 1;
    for (;;) {
        struct pollfd fds[MOST + 1];
        int64_t next = INT64_MAX;
        fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < count; i++) {
            /* the partner of way i reads from the socket that i writes to */
            struct way *w = &ways[i], *back = &ways[i ^ 1];
            short events = !w->ended && w->held < HELD ? POLLIN : 0;
            if (back->first && back->first->due <= now()) events |= POLLOUT;
            fds[i + 1] = (struct pollfd){.fd = events ? w->from : -1, .events = events};
            if (w->first && w->first->due < next) next = w->first->due;
        }
        int64_t wait = next == INT64_MAX ? 1000000000LL : next - now();
        if (wait < 0) wait = 0;
        struct timespec t = {wait / 1000000000LL, wait % 1000000000LL};
        int known = count;
        if (ppoll(fds, count + 1, &t, NULL) < 0) continue;
        for (int i = 0; i < known; i++)
            if (fds[i + 1].revents & (POLLIN | POLLHUP | POLLERR)) take(&ways[i], round_trip / 2);
        for (int i = 0; i < known; i++) give(&ways[i]);
        for (int i = known - 2; i >= 0; i -= 2)
            if (ways[i].ended == 2 && ways[i + 1].ended == 2) drop(i);
        if (fds[0].revents) join(listener, atoi(argv[2]), round_trip);
    }
}
