/* cluster_transport_internal.h: messages between two ranks, which is all that is asked of MPI.
 *
 * A transport is a table that a shared object fills (mpi/cluster_mpi.c, compiled once for each MPI:
 * their binary interfaces differ), so that one program serves them all and needs none. This header
 * includes nothing of ours: the shared object is built without the rest of the program. */
#ifndef COLOSSUS_CLUSTER_TRANSPORT_INTERNAL_H
#define COLOSSUS_CLUSTER_TRANSPORT_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define CLUSTER_TRANSPORT_VERSION 1
#define CLUSTER_TRANSPORT_SYMBOL  "colossus_transport_open"

/* One message may have as many bytes; longer ones are cut by the caller. */
#define CLUSTER_MESSAGE_MAX ((size_t)1 << 30)
/* Tags are below this; MPI promises 32767, both libraries give far more. */
#define CLUSTER_TAG_MAX 32768u

struct cluster_transport {
    int version; /* CLUSTER_TRANSPORT_VERSION */
    void *ctx;
    char name[128];
    int rank, size;
    int local_size; /* ranks on this machine; 0: not known */
    /* Start a message and give a handle. Messages of one pair of ranks and one tag arrive in order.
     * 0, or negative with `error` filled. */
    int (*send)(struct cluster_transport *t, int peer, uint32_t tag, const void *data, size_t bytes,
                void **request);
    int (*recv)(struct cluster_transport *t, int peer, uint32_t tag, void *data, size_t bytes,
                void **request);
    /* 1: the message is done and *request NULL; 0: not yet; negative: failed, `error` filled. *bytes
     * is what arrived. */
    int (*test)(struct cluster_transport *t, void **request, size_t *bytes);
    /* Gives up a message that is not done: its memory is not touched from here on. */
    void (*cancel)(struct cluster_transport *t, void **request);
    void (*close)(struct cluster_transport *t);
    void (*abort)(struct cluster_transport *t, int exit_code);
    char error[512];
};
/* Joins the job; NULL with a reason in error[size] where that fails. */
typedef struct cluster_transport *cluster_transport_open_fn(char *error, size_t size);

#endif
