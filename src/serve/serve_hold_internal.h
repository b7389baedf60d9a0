/* serve_hold_internal.h: how much of a text that still grows is certain (serve_hold.c). */
#ifndef COLOSSUS_SERVE_HOLD_INTERNAL_H
#define COLOSSUS_SERVE_HOLD_INTERNAL_H

#include "base/base.h"

/* Bytes of text[0..n) that may be shown: no unfinished character, no beginning of a stop string. */
size_t serve_certain(const char *const *stop, size_t n_stop, const char *text, size_t n);
/* Offset of the earliest stop string, or SIZE_MAX. */
size_t serve_find_stop(const char *const *stop, size_t n_stop, const char *text, size_t n);

#endif
