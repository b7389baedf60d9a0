/* train_show_internal.h: the two .jsonl files of a run folder, line by line. */
#ifndef COLOSSUS_TRAIN_SHOW_INTERNAL_H
#define COLOSSUS_TRAIN_SHOW_INTERNAL_H

#include "train/train.h"

/* Each whole line of a file that is an object of JSON; one that is none is left out, and so is what is
 * written just now. A file that is not there has none. */
void train_lines_read(const char *path, void *ctx, void (*take)(void *ctx, const json_t *o));
/* Seconds since 1970 of "2026-11-22T03:04:05.678Z"; NAN: it is none. */
double train_line_seconds(const char *text);
/* A number of a line; NAN: it has none. */
double train_line_real(const json_t *o, const char *key);
/* A whole number; -1: it has none. */
int64_t train_line_int(const json_t *o, const char *key);

#endif
