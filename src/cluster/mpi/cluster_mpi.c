/* cluster_mpi.c: the transport over MPI, a shared object of its own.
 *
 * Compiled once with each MPI's compiler wrapper; the program loads the one that its launcher needs
 * (cluster_world.c). Only messages between two ranks are used, on a communicator of our own. MPI's
 * calls are made by one thread at a time, which MPI_THREAD_SERIALIZED allows. */
#include "cluster/cluster_transport_internal.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    MPI_Request mpi;
    struct request *next; /* in the list of free ones */
    bool receives;
};
struct state {
    struct cluster_transport table;
    MPI_Comm comm;
    struct request *idle;
};

static int fail(struct cluster_transport *t, const char *call, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(t->error, sizeof(t->error), "%s: %s", call, text);
    return -1;
}

static struct request *take_request(struct state *s)
{
    struct request *r = s->idle;
    if (!r) return calloc(1, sizeof(*r));
    s->idle = r->next;
    return r;
}

static void give_request(struct state *s, struct request *r)
{
    r->next = s->idle;
    s->idle = r;
}

static int start(struct cluster_transport *t, struct request *r, int rc, const char *call,
                 void **request)
{
    if (rc != MPI_SUCCESS) {
        give_request(t->ctx, r);
        return fail(t, call, rc);
    }
    *request = r;
    return 0;
}

static int mpi_send(struct cluster_transport *t, int peer, uint32_t tag, const void *data,
                    size_t bytes, void **request)
{
    struct state *s = t->ctx;
    struct request *r = take_request(s);
    if (!r) return fail(t, "MPI_Isend", MPI_ERR_NO_MEM);
    r->receives = false;
    int rc = MPI_Isend(data, (int)bytes, MPI_BYTE, peer, (int)tag, s->comm, &r->mpi);
    return start(t, r, rc, "MPI_Isend", request);
}

static int mpi_recv(struct cluster_transport *t, int peer, uint32_t tag, void *data, size_t bytes,
                    void **request)
{
    struct state *s = t->ctx;
    struct request *r = take_request(s);
    if (!r) return fail(t, "MPI_Irecv", MPI_ERR_NO_MEM);
    r->receives = true;
    int rc = MPI_Irecv(data, (int)bytes, MPI_BYTE, peer, (int)tag, s->comm, &r->mpi);
    return start(t, r, rc, "MPI_Irecv", request);
}

static int mpi_test(struct cluster_transport *t, void **request, size_t *bytes)
{
    struct state *s = t->ctx;
    struct request *r = *request;
    MPI_Status status;
    int done = 0, count = 0;
    int rc = MPI_Test(&r->mpi, &done, &status);
    if (rc == MPI_SUCCESS && !done) return 0;
    if (rc == MPI_SUCCESS && r->receives) rc = MPI_Get_count(&status, MPI_BYTE, &count);
    *bytes = (size_t)count;
    *request = NULL;
    give_request(s, r);
    return rc == MPI_SUCCESS ? 1 : fail(t, "MPI_Test", rc);
}

/* A send that was cancelled may still read its memory in some libraries; the caller of a job that
 * failed keeps its arrays until it ends. */
static void mpi_cancel(struct cluster_transport *t, void **request)
{
    struct request *r = *request;
    if (r->receives) MPI_Cancel(&r->mpi);
    MPI_Request_free(&r->mpi);
    give_request(t->ctx, r);
    *request = NULL;
}

static void mpi_close(struct cluster_transport *t)
{
    struct state *s = t->ctx;
    MPI_Comm_free(&s->comm);
    MPI_Finalize();
    while (s->idle) {
        struct request *r = s->idle;
        s->idle = r->next;
        free(r);
    }
    free(s);
}

static void mpi_abort(struct cluster_transport *t, int exit_code)
{
    struct state *s = t->ctx;
    MPI_Abort(s->comm, exit_code);
}

/* "Open MPI v4.1.4, package: Debian OpenMPI, ...", "MPICH Version: 4.0.2 ...": the head of it. */
static void name_library(char *out, size_t size)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    size_t n = strcspn(text, ",\n");
    snprintf(out, size, "%.*s", (int)n, text);
    for (char *c = out; *c; c++)
        if (*c == '\t') *c = ' ';
}

static int count_local(MPI_Comm comm)
{
    MPI_Comm local;
    int n = 0;
    if (MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local) != MPI_SUCCESS)
        return 0;
    MPI_Comm_size(local, &n);
    MPI_Comm_free(&local);
    return n;
}

struct cluster_transport *colossus_transport_open(char *error, size_t size);
__attribute__((visibility("default"))) struct cluster_transport *colossus_transport_open(
    char *error, size_t size)
{
    int level = 0, rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    if (rc != MPI_SUCCESS || level < MPI_THREAD_SERIALIZED) {
        snprintf(error, size,
                 rc != MPI_SUCCESS ? "MPI_Init_thread failed"
                                   : "this MPI allows only one thread to call it");
        return NULL;
    }
    struct state *s = calloc(1, sizeof(*s));
    if (!s || MPI_Comm_dup(MPI_COMM_WORLD, &s->comm) != MPI_SUCCESS) {
        snprintf(error, size, "MPI_Comm_dup failed");
        free(s);
        return NULL;
    }
    MPI_Comm_set_errhandler(s->comm, MPI_ERRORS_RETURN);
    s->table = (struct cluster_transport){.version = CLUSTER_TRANSPORT_VERSION,
                                          .ctx = s,
                                          .send = mpi_send,
                                          .recv = mpi_recv,
                                          .test = mpi_test,
                                          .cancel = mpi_cancel,
                                          .close = mpi_close,
                                          .abort = mpi_abort};
    MPI_Comm_rank(s->comm, &s->table.rank);
    MPI_Comm_size(s->comm, &s->table.size);
    s->table.local_size = count_local(s->comm);
    name_library(s->table.name, sizeof(s->table.name));
    return &s->table;
}
