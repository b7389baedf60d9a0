/* http_client.h: a client for tests: sends bytes to a server on loopback and reads what comes back,
 * for ten seconds at most. */
#ifndef COLOSSUS_TESTS_HTTP_CLIENT_H
#define COLOSSUS_TESTS_HTTP_CLIENT_H

#include "base/base.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int client_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0);
    return fd;
}

static inline void client_send(int fd, const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0) return; /* the other end has closed: the answer says why */
        text += sent;
        n -= (size_t)sent;
    }
}

/* Adds what comes to *out until it holds `until`, or the other end closes (false). */
static inline bool client_read(int fd, const char *until, struct str *out)
{
    char part[4096];
    double end = time_now_s() + 10;
    while (!(until && out->len && strstr(out->data, until))) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (time_now_s() > end || poll(&p, 1, 1000) < 0) return false;
        if (!p.revents) continue;
        ssize_t n = recv(fd, part, sizeof(part), 0);
        if (n <= 0) return false;
        str_append(out, part, (size_t)n);
    }
    return true;
}

/* Sends a whole request and reads the whole answer, after which the server closes. */
static inline void client_ask(int port, const char *request, struct str *out)
{
    int fd = client_connect(port);
    str_clear(out);
    str_reserve(out, 1);
    client_send(fd, request);
    client_read(fd, NULL, out);
    close(fd);
}

#endif
