/* test_cmocka.h: cmocka, which wants these headers before it, and what many tests need. */
#ifndef TEST_CMOCKA_H
#define TEST_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"

/* The text must contain the part; a failure shows both. */
#define assert_contains(text, part)                                                          \
    do {                                                                                     \
        if (!strstr((text), (part))) fail_msg("'%s' does not contain '%s'", (text), (part)); \
    } while (0)

#define assert_ok(call, e)                                   \
    do {                                                     \
        if ((call) < 0) fail_msg("%s: %s", #call, (e).text); \
    } while (0)

/* A fresh folder below $TMPDIR, which tools/run-tests removes. */
static inline char *test_folder(struct arena *a)
{
    const char *base = getenv("TMPDIR");
    char *path = arena_printf(a, "%s/colossus-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path)) abort();
    return path;
}

/* What a function that writes to a FILE wrote; the caller frees it with free(). */
#define CAPTURE(text, size, out, statement)           \
    do {                                              \
        FILE *out = open_memstream(&(text), &(size)); \
        statement;                                    \
        fclose(out);                                  \
    } while (0)

/* Within a share of what is expected; between bounds; a range whose parts are in order. */
#define assert_within(value, expected, share)                                  \
    do {                                                                       \
        double v_ = (value), x_ = (expected);                                  \
        if (!(fabs(v_ - x_) <= (share)*fabs(x_)))                              \
            fail_msg("%s = %g is %+.1f %% off %g (%g %% allowed)", #value, v_, \
                     100.0 * (v_ / x_ - 1.0), x_, 100.0 * (share));            \
    } while (0)
#define assert_between(value, low, high)                                                        \
    do {                                                                                        \
        double v_ = (value);                                                                    \
        if (!(v_ >= (low) && v_ <= (high)))                                                     \
            fail_msg("%s = %g is outside %g .. %g", #value, v_, (double)(low), (double)(high)); \
    } while (0)
#define assert_ordered(r)                                                \
    do {                                                                 \
        struct range r_ = (r);                                           \
        if (!(r_.low <= r_.mid && r_.mid <= r_.high))                    \
            fail_msg("%s is %g / %g / %g", #r, r_.low, r_.mid, r_.high); \
    } while (0)

#endif
