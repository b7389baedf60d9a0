/* serve_eval_internal.h: a question with several answers, as every form of multiple choice is read
 * into. */
#ifndef COLOSSUS_SERVE_EVAL_INTERNAL_H
#define COLOSSUS_SERVE_EVAL_INTERNAL_H

#include "serve/serve.h"

enum { EVAL_MAX_CHOICES = 64 };

/* Which of n continuations, each behind its context, does the model find most likely? */
struct eval_question {
    struct arena *arena; /* of the strings */
    int n, gold;
    const char *context[EVAL_MAX_CHOICES];
    const char *continuation[EVAL_MAX_CHOICES]; /* with the space before it */
    const char *answer[EVAL_MAX_CHOICES];       /* whose characters count for accuracy_norm */
};

struct eval_form {
    const char *name;
    const char *keys; /* for people */
    bool normed;      /* accuracy_norm is defined */
    bool (*matches)(const json_t *o);
    int (*read)(const json_t *o, const char *where, struct eval_question *q, struct error *e);
};
/* By the name of a task, or by the keys of a line; NULL: none. */
const struct eval_form *eval_form_named(const char *name);
const struct eval_form *eval_form_of(const json_t *o);
/* "piqa {goal, sol1, sol2, label}; ..." */
void eval_form_list(struct str *out);

#endif
