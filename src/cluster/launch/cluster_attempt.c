/* cluster_attempt.c: the processes of an attempt and their connections.
 *
 * The ranks' own launcher (mpirun, srun) is a child in a session of its own, so that a key pressed in
 * the terminal reaches this process only. Who is left behind is not waited for: ranks are told to
 * leave by their connection, those of this machine are killed, also where they stand still, and their
 * launcher gets some seconds to notice that it has nothing left to do. */
#include "cluster/launch/cluster_supervise_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD_NOTICE_S   1.0 /* for their launcher to see that they are gone */
#define OLD_PATIENCE_S 3.0
#define STRANGER_S     5.0 /* a connection that does not say who it is */

/* ------------------------------------------------------------------ listening */

int launch_listen(struct supervisor *s, struct error *e)
{
    uint64_t random;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    at.sin_addr.s_addr = htonl(s->o->host ? INADDR_ANY : INADDR_LOOPBACK);
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return error_errno(e, "get random numbers from", "the kernel");
    hash_to_hex(random, s->key);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0 || bind(s->listen_fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(s->listen_fd, 1024) < 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&at, &size) < 0)
        return error_errno(e, "listen for", "the ranks");
    s->port = ntohs(at.sin_port);
    return 0;
}

void launch_accept(struct supervisor *s)
{
    int fd;
    while ((fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (s->n_links >= (size_t)s->n + 64) { /* strangers: the oldest of them makes room */
            size_t i = 0;
            while (i < s->n_links && s->links[i].rank >= 0)
                i++;
            if (i == s->n_links) {
                close(fd);
                continue;
            }
            launch_drop(s, i);
        }
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        s->links[s->n_links++] = (struct launch_link){fd, -1, time_now_s(), {.size = 0}};
    }
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i].rank < 0 && time_now_s() - s->links[i].since_s > STRANGER_S)
            launch_drop(s, i--);
}

double launch_came_s(int fd, bool end)
{
    struct tcp_info i;
    socklen_t size = sizeof(i);
    double now_s = time_now_s();
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &size) < 0 || size < sizeof(i)) return now_s;
    return now_s - 1e-3 * (end ? i.tcpi_last_ack_recv : i.tcpi_last_data_recv);
}

void launch_drop(struct supervisor *s, size_t link)
{
    close(s->links[link].fd);
    s->links[link] = s->links[--s->n_links];
}

/* A rank that does not read is not waited for. */
void launch_tell(struct supervisor *s, enum launch_note_kind kind)
{
    char line[LAUNCH_LINE_MAX];
    size_t size = launch_note_print(&(struct launch_note){.kind = kind}, line);
    for (size_t i = 0; i < s->n_links; i++) {
        if (s->links[i].rank < 0) continue;
        ssize_t sent = send(s->links[i].fd, line, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent; /* who cannot be told is found out by its silence */
    }
}

/* ------------------------------------------------------------------ starting */

/* In the child: nothing that takes a lock. */
static void become(const char **argv, char **environment)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    execve(argv[0], (char *const *)(uintptr_t)argv, environment);
    static const char text[] = "colossus launch: the ranks' launcher cannot be started\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    kill(getpid(), SIGKILL);
}

/* Open MPI's ranks of one machine share files in memory, which stay for good where their launcher is
 * killed. In a folder of the attempt they can be removed whatever became of the processes: these keep
 * what they have mapped. Ranks of other nodes would not find it there. */
#define SHARED_VARIABLE "OMPI_MCA_btl_vader_backing_directory"

static void make_shared(struct supervisor *s)
{
    snprintf(s->shared, sizeof(s->shared), "/dev/shm/colossus-mpi-XXXXXX");
    if (s->o->host || getenv(SHARED_VARIABLE) || !mkdtemp(s->shared)) s->shared[0] = '\0';
}

void launch_remove_shared(struct supervisor *s)
{
    struct error e;
    if (s->shared[0] && file_remove_tree(s->shared, &e) < 0) log_warn("%s", e.text);
    s->shared[0] = '\0';
}

/* This process's environment with up to three variables more, in *a. */
static char **make_environment(const struct supervisor *s, struct arena *a)
{
    struct str faults = {0};
    size_t n = 0, at = 0;
    while (environ[n])
        n++;
    char **out = arena_alloc(a, (n + 4) * sizeof(*out));
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "COLOSSUS_LAUNCHER=", 18) != 0 &&
            strncmp(environ[i], "COLOSSUS_INJECT=", 16) != 0)
            out[at++] = environ[i];
    out[at++] = arena_printf(a, LAUNCH_VARIABLE "=%s %d %s %d",
                             s->o->host ? s->o->host : "127.0.0.1", s->port, s->key, s->attempt);
    if (s->shared[0]) out[at++] = arena_printf(a, SHARED_VARIABLE "=%s", s->shared);
    launch_faults_print(s->faults, s->n_faults, &faults);
    if (faults.len > 0) out[at++] = arena_printf(a, LAUNCH_FAULTS_VARIABLE "=%s", faults.data);
    str_fini(&faults);
    return out;
}

int launch_start(struct supervisor *s, const char *const *nodes, size_t n_nodes, struct error *e)
{
    struct arena a = {0};
    const struct cluster_attempt at = {s->attempt, s->n, nodes, n_nodes};
    const char **argv;
    int rc = s->o->command(s->o->ctx, &at, &a, &argv, e);
    if (rc >= 0) {
        make_shared(s);
        char **environment = make_environment(s, &a);
        fflush(NULL);
        s->child = fork();
        if (s->child == 0) become(argv, environment);
        if (s->child < 0) {
            s->child = 0;
            rc = error_errno(e, "start", argv[0]);
            launch_remove_shared(s);
        }
    }
    arena_fini(&a);
    return rc;
}

/* ------------------------------------------------------------------ ending */

void launch_leave(struct supervisor *s)
{
    char here[CLUSTER_NODE_MAX];
    cluster_node_name(here);
    launch_tell(s, NOTE_LEAVE);
    for (int i = 0; i < s->n; i++) {
        const struct launch_rank *r = &s->ranks[i];
        bool killable = r->here && !r->bye && r->pid > 1 && strcmp(r->node, here) == 0;
        if (killable && !r->gone) kill((pid_t)r->pid, SIGKILL);
    }
    while (s->n_links > 0)
        launch_drop(s, s->n_links - 1);
    if (s->child > 0) {
        if (s->n_old == LAUNCH_OLD_MAX) { /* so many cannot be: the oldest goes hard */
            kill(-s->old[0].pid, SIGKILL);
            memmove(s->old, s->old + 1, (LAUNCH_OLD_MAX - 1) * sizeof(s->old[0]));
            s->n_old--;
        }
        s->old[s->n_old++] = (struct launch_old){s->child, time_now_s(), false};
    }
    s->child = 0;
}

void launch_reap(struct supervisor *s)
{
    int status;
    if (s->child > 0 && waitpid(s->child, &status, WNOHANG) == s->child) {
        s->child = 0;
        s->child_status = status;
        s->child_s = time_now_s();
    }
    for (size_t i = 0; i < s->n_old; i++) {
        struct launch_old *o = &s->old[i];
        double age_s = time_now_s() - o->since_s;
        if (waitpid(o->pid, &status, WNOHANG) != 0) {
            s->old[i--] = s->old[--s->n_old];
            continue;
        }
        if (age_s > OLD_PATIENCE_S) kill(o->pid, SIGKILL);
        if (age_s > OLD_NOTICE_S && !o->told) kill(o->pid, SIGTERM);
        o->told = age_s > OLD_NOTICE_S;
    }
}
