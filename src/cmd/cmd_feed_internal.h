/* cmd_feed_internal.h: what the files of `colossus feed` share. */
#ifndef COLOSSUS_CMD_FEED_INTERNAL_H
#define COLOSSUS_CMD_FEED_INTERNAL_H

#include "cmd/cmd.h"
#include "feed/feed.h"

cmd_fn cmd_feed_search, cmd_feed_trends, cmd_feed_serve, cmd_feed_follow, cmd_feed_ask,
    cmd_feed_answers, cmd_feed_signals;

/* "7 days" or "12 h" in seconds, "20 GB" in bytes; 0 where text is NULL. */
int feed_time_option(const char *option, const char *text, double *out, struct error *e);
/* "2026-07-04T12:00:00Z"; 0 where text is NULL. */
int feed_moment_option(const char *option, const char *text, int64_t *ms, struct error *e);
int feed_size_option(const char *option, const char *text, double *out, struct error *e);
/* The one STORE of a command that takes nothing else. */
int feed_only_store(const struct option_line *l, const char *example, struct error *e);
/* An error where an option of `names` ("limit page") was given, which changes nothing `when`. */
int feed_refuse_options(const struct option_line *l, const char *names, const char *when,
                        struct error *e);
/* SIGINT and SIGTERM set it. */
extern volatile sig_atomic_t feed_stopped;
void feed_catch_signals(void);
void feed_print_json(json_t *j);
/* A post's text on one line, without what would steer a terminal (cmd_feed_search.c). */
void feed_print_text(struct feed_slice s);

#endif
