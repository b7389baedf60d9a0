/* serve_eval_forms.c: the forms in which tasks of multiple choice are published, and the prompts
 * that are made of them.
 *
 * Keys are those of the Hugging Face hub and of the authors' own files. Prompts, answers and what
 * counts as right are lm-evaluation-harness's (its task files, zero-shot), so that figures compare:
 *
 *   piqa        "Question: GOAL\nAnswer:" + " SOLUTION"
 *   winogrande  the sentence up to '_' with each option in it + what follows '_' ("partial
 *               evaluation": the same words are scored behind different beginnings)
 *   openbookqa  the question's stem + " CHOICE"
 *   arc         "Question: QUESTION\nAnswer:" + " CHOICE"
 *   hellaswag   "ACTIVITY: CTX_A Ctx_b" + " ENDING", without WikiHow's marks in brackets
 *   mmlu        "The following are multiple choice questions (with answers) about SUBJECT.\n\n
 *               QUESTION\nA. ...\nB. ...\nAnswer:" + " A", " B", ...
 *   choice      any other: the question as it stands + " CHOICE" */
#include "serve/serve_eval_internal.h"

#include <ctype.h>
#include <string.h>
#include <utf8proc.h>

static const char *const CONTEXT_KEYS[] = {"context", "question", "query", "ctx", "prompt"};
static const char *const CHOICE_KEYS[] = {"choices", "endings", "options"};
static const char *const ANSWER_KEYS[] = {"answer", "label", "gold", "answerKey", "answer_idx"};

/* ------------------------------------------------------------------ reading keys */

static bool has_string(const json_t *o, const char *key)
{
    return json_is_string(json_object_get(o, key));
}

/* Data sets name the same thing differently: the first key that is there counts. */
static json_t *find_key(const json_t *o, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_object_get(o, keys[i]);
        if (v) return v;
    }
    return NULL;
}

enum { NO_CHOICE = -1, TWO_CHOICES = -2 };

/* Index of the string in an array, or NO_CHOICE. */
static int find_string(const json_t *array, const char *wanted)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (text && strcmp(text, wanted) == 0) return (int)i;
    }
    return NO_CHOICE;
}

/* An index that is written as a string, as a number or a capital letter. */
static int read_index(const char *text, size_t n_choices)
{
    int64_t i;
    if (isupper((unsigned char)text[0]) && !text[1])
        i = text[0] - 'A';
    else if (parse_int(text, &i) < 0)
        return NO_CHOICE;
    return i >= 0 && i < (int64_t)n_choices ? (int)i : NO_CHOICE;
}

/* Index of the label that is the number, or its text. */
static int find_label(const json_t *labels, json_int_t number, const char *digits)
{
    for (size_t i = 0; i < json_array_size(labels); i++) {
        const json_t *label = json_array_get(labels, i);
        if (json_is_integer(label) && json_integer_value(label) == number) return (int)i;
    }
    return find_string(labels, digits);
}

/* Index of the right choice; NO_CHOICE; TWO_CHOICES where the answer is one's text or label and
 * another's index. Labels, where a line has them, go before texts. */
static int right_choice(const json_t *answer, const json_t *texts, const json_t *labels)
{
    size_t n = json_array_size(texts);
    char digits[32] = "";
    if (json_is_integer(answer)) {
        json_int_t i = json_integer_value(answer);
        snprintf(digits, sizeof(digits), "%lld", (long long)i);
        int labelled = labels ? find_label(labels, i, digits) : NO_CHOICE;
        if (labelled >= 0 && i >= 0 && i < (json_int_t)n && i != labelled) return TWO_CHOICES;
        if (labelled >= 0) return labelled < (int)n ? labelled : NO_CHOICE;
        if (labels) return NO_CHOICE; /* beside labels a number is one of them, not a place */
        return i >= 0 && i < (json_int_t)n ? (int)i : NO_CHOICE;
    }
    const char *a = json_string_value(answer);
    if (!a) return NO_CHOICE;
    int named = labels ? find_string(labels, a) : read_index(a, n), text = find_string(texts, a);
    if (labels && named >= 0) return named < (int)n ? named : NO_CHOICE;
    if (named >= 0 && text >= 0 && named != text) return TWO_CHOICES;
    return text >= 0 ? text : named;
}

/* The number of the right answer under a key: `from` and up, as a number or a string of it. */
static int read_gold(const json_t *o, const char *key, int from, const char *where,
                     struct eval_question *q, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    const char *text = json_string_value(v);
    int64_t i = json_is_integer(v) ? json_integer_value(v) : INT64_MIN;
    if (text && parse_int(text, &i) < 0) i = INT64_MIN;
    if (i >= from && i < from + q->n) {
        q->gold = (int)(i - from);
        return 0;
    }
    error_set(e, "%s: '%s' is no number from %d to %d", where, key, from, from + q->n - 1);
    return error_hint(e, "splits for testing are published without answers; take the one for "
                         "validation");
}

static int need_choices(size_t n, const char *where, struct error *e)
{
    if (n >= 2 && n <= EVAL_MAX_CHOICES) return 0;
    return error_set(e, "%s: %zu choices, not 2 to %d", where, n, EVAL_MAX_CHOICES);
}

/* One more answer behind the context, with a space between them. */
static void add_answer(struct eval_question *q, const char *context, const char *answer)
{
    q->context[q->n] = context;
    q->answer[q->n] = answer;
    q->continuation[q->n++] = arena_printf(q->arena, " %s", answer);
}

static char *strip(struct arena *a, const char *text)
{
    size_t n = strlen(text);
    while (isspace((unsigned char)*text))
        text++, n--;
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    return arena_strndup(a, text, n);
}

/* ------------------------------------------------------------------ any question */

static bool is_choice(const json_t *o)
{
    return find_key(o, CHOICE_KEYS, ARRAY_LEN(CHOICE_KEYS)) != NULL;
}

/* Choices are an array, or ARC's object of texts and labels. */
static const json_t *read_choices(const json_t *o, const json_t **labels)
{
    const json_t *choices = find_key(o, CHOICE_KEYS, ARRAY_LEN(CHOICE_KEYS));
    *labels = NULL;
    if (!json_is_object(choices)) return choices;
    *labels = json_object_get(choices, "label");
    return json_object_get(choices, "text");
}

static int bad_answer(int gold, size_t n, const char *where, struct error *e)
{
    if (gold == TWO_CHOICES) {
        error_set(e, "%s: the answer is the text or label of one choice and the index of another",
                  where);
        return error_hint(e,
                          "an index is a number without quotes, a label or a text stands in them");
    }
    error_set(e, "%s: the answer names none of the %zu choices", where, n);
    return error_hint(e, "\"answer\" is an index from 0, a label, a letter or a choice's text");
}

/* Choices that begin with white space bring the separator along. */
static int read_choice(const json_t *o, const char *where, struct eval_question *q, struct error *e)
{
    const char *context = json_string_value(find_key(o, CONTEXT_KEYS, ARRAY_LEN(CONTEXT_KEYS)));
    const json_t *labels, *choices = read_choices(o, &labels);
    size_t n = json_array_size(choices);
    if (!context || n < 2 || n > EVAL_MAX_CHOICES) {
        error_set(e, "%s: no context, or not 2 to %d choices", where, EVAL_MAX_CHOICES);
        return error_hint(e,
                          "a line reads {\"question\": \"...\", \"choices\": [\"...\", \"...\"], "
                          "\"answer\": 0}");
    }
    q->gold = right_choice(find_key(o, ANSWER_KEYS, ARRAY_LEN(ANSWER_KEYS)), choices, labels);
    if (q->gold < 0) return bad_answer(q->gold, n, where, e);
    size_t size = strlen(context);
    while (size && isspace((unsigned char)context[size - 1]))
        size--;
    context = arena_strndup(q->arena, context, size);
    for (size_t i = 0; i < n; i++) {
        const char *choice = json_string_value(json_array_get(choices, i));
        if (!choice) return error_set(e, "%s: choice %zu is not a string", where, i);
        bool separated = isspace((unsigned char)choice[0]);
        add_answer(q, context, choice + separated);
        if (separated) q->continuation[i] = choice;
    }
    return 0;
}

/* ------------------------------------------------------------------ PIQA, WinoGrande */

static bool is_piqa(const json_t *o)
{
    return has_string(o, "goal") && has_string(o, "sol1") && has_string(o, "sol2");
}

static int read_piqa(const json_t *o, const char *where, struct eval_question *q, struct error *e)
{
    const char *goal, *one, *two;
    TRY(json_get_string(o, "goal", &goal, where, e));
    TRY(json_get_string(o, "sol1", &one, where, e));
    TRY(json_get_string(o, "sol2", &two, where, e));
    const char *context = arena_printf(q->arena, "Question: %s\nAnswer:", goal);
    add_answer(q, context, one);
    add_answer(q, context, two);
    return read_gold(o, "label", 0, where, q, e);
}

static bool is_winogrande(const json_t *o)
{
    return has_string(o, "sentence") && has_string(o, "option1") && has_string(o, "option2");
}

static int read_winogrande(const json_t *o, const char *where, struct eval_question *q,
                           struct error *e)
{
    const char *sentence, *one, *two;
    TRY(json_get_string(o, "sentence", &sentence, where, e));
    TRY(json_get_string(o, "option1", &one, where, e));
    TRY(json_get_string(o, "option2", &two, where, e));
    const char *gap = strchr(sentence, '_'), *rest = gap ? strip(q->arena, gap + 1) : "";
    if (!*rest) return error_set(e, "%s: the sentence has no '_' with words behind it", where);
    int n = (int)(gap - sentence);
    add_answer(q, arena_printf(q->arena, "%.*s%s", n, sentence, one), rest);
    add_answer(q, arena_printf(q->arena, "%.*s%s", n, sentence, two), rest);
    return read_gold(o, "answer", 1, where, q, e);
}

/* ------------------------------------------------------------------ OpenBookQA, ARC */

/* {"question": {"stem": ..., "choices": [{"text", "label"}]}}: the authors' own files. */
static bool has_stem(const json_t *o)
{
    return has_string(json_object_get(o, "question"), "stem");
}

static bool is_openbookqa(const json_t *o)
{
    return has_string(o, "question_stem") || has_stem(o);
}

static bool is_arc(const json_t *o)
{
    return has_string(o, "question") && has_string(o, "answerKey") &&
           json_is_object(json_object_get(o, "choices"));
}

/* Label and text of choice i, in either layout; NULL behind the last. */
static const char *labelled_choice(const json_t *choices, size_t i, const char **label)
{
    const json_t *one = json_array_get(choices, i);
    if (json_is_object(choices)) {
        *label = json_string_value(json_array_get(json_object_get(choices, "label"), i));
        return json_string_value(json_array_get(json_object_get(choices, "text"), i));
    }
    *label = json_string_value(json_object_get(one, "label"));
    return json_string_value(json_object_get(one, "text"));
}

/* Choices with labels, of which answerKey names one. */
static int read_labelled(const json_t *o, const char *context, const char *where,
                         struct eval_question *q, struct error *e)
{
    const json_t *choices = json_object_get(o, "choices");
    const char *key, *label, *text;
    if (!choices) choices = json_object_get(json_object_get(o, "question"), "choices");
    TRY(json_get_string(o, "answerKey", &key, where, e));
    q->gold = NO_CHOICE;
    while (q->n < EVAL_MAX_CHOICES &&
           (text = labelled_choice(choices, (size_t)q->n, &label)) != NULL) {
        if (label && strcmp(label, strip(q->arena, key)) == 0) q->gold = q->n;
        add_answer(q, context, text);
    }
    TRY(need_choices((size_t)q->n, where, e));
    if (q->gold >= 0) return 0;
    error_set(e, "%s: answerKey '%s' is the label of no choice", where, key);
    return error_hint(e, "splits for testing are published without answers");
}

static const char *stem_of(const json_t *o)
{
    const char *stem = json_string_value(json_object_get(o, "question_stem"));
    if (!stem) stem = json_string_value(json_object_get(o, "question"));
    return stem ? stem : json_string_value(json_object_get(json_object_get(o, "question"), "stem"));
}

static int read_openbookqa(const json_t *o, const char *where, struct eval_question *q,
                           struct error *e)
{
    const char *stem = stem_of(o);
    if (!stem) return error_set(e, "%s: no string at question_stem or question.stem", where);
    return read_labelled(o, stem, where, q, e);
}

static int read_arc(const json_t *o, const char *where, struct eval_question *q, struct error *e)
{
    const char *stem = stem_of(o);
    if (!stem) return error_set(e, "%s: no string at question or question.stem", where);
    return read_labelled(o, arena_printf(q->arena, "Question: %s\nAnswer:", stem), where, q, e);
}

/* ------------------------------------------------------------------ HellaSwag, MMLU */

static bool is_hellaswag(const json_t *o)
{
    return has_string(o, "activity_label") && has_string(o, "ctx_a") && has_string(o, "ctx_b") &&
           json_is_array(json_object_get(o, "endings"));
}

/* Python's str.capitalize: the first character in title case, the others in lower case. */
static void capitalize(const char *text, struct str *out)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t c;
    for (bool first = true; *p; first = false) {
        utf8proc_uint8_t utf8[4];
        p += utf8proc_iterate(p, -1, &c); /* JSON is valid UTF-8 */
        c = first ? utf8proc_totitle(c) : utf8proc_tolower(c);
        str_append(out, utf8, (size_t)utf8proc_encode_char(c, utf8));
    }
}

static char *replace(struct arena *a, const char *text, const char *from, const char *to)
{
    struct str s = {0};
    for (const char *at; (at = strstr(text, from)) != NULL; text = at + strlen(from)) {
        str_append(&s, text, (size_t)(at - text));
        str_puts(&s, to);
    }
    str_puts(&s, text);
    char *copy = arena_strdup(a, s.data ? s.data : "");
    str_fini(&s);
    return copy;
}

/* Without the marks of WikiHow: the harness's `preprocess`. */
static char *clean(struct arena *a, const char *text)
{
    char *s = replace(a, strip(a, text), " [title]", ". "), *to = s;
    for (const char *p = s; *p;) {
        size_t inside = *p == '[' ? strcspn(p, "]\n") : 0;
        if (inside && p[inside] == ']')
            p += inside + 1;
        else
            *to++ = *p++;
    }
    *to = '\0';
    return replace(a, s, "  ", " ");
}

static int read_hellaswag(const json_t *o, const char *where, struct eval_question *q,
                          struct error *e)
{
    const char *activity, *a, *b;
    const json_t *endings = json_object_get(o, "endings");
    struct str text = {0};
    TRY(json_get_string(o, "activity_label", &activity, where, e));
    TRY(json_get_string(o, "ctx_a", &a, where, e));
    TRY(json_get_string(o, "ctx_b", &b, where, e));
    TRY(need_choices(json_array_size(endings), where, e));
    str_printf(&text, "%s: %s ", activity, a);
    capitalize(b, &text);
    const char *context = clean(q->arena, text.data);
    str_fini(&text);
    for (size_t i = 0; i < json_array_size(endings); i++) {
        const char *ending = json_string_value(json_array_get(endings, i));
        if (!ending) return error_set(e, "%s: ending %zu is not a string", where, i);
        add_answer(q, context, clean(q->arena, ending));
    }
    return read_gold(o, "label", 0, where, q, e);
}

static bool is_mmlu(const json_t *o)
{
    return has_string(o, "subject") && has_string(o, "question") &&
           json_is_array(json_object_get(o, "choices")) && json_object_get(o, "answer");
}

static int read_mmlu(const json_t *o, const char *where, struct eval_question *q, struct error *e)
{
    const char *subject, *question;
    const json_t *choices = json_object_get(o, "choices");
    size_t n = json_array_size(choices);
    struct str text = {0};
    TRY(json_get_string(o, "subject", &subject, where, e));
    TRY(json_get_string(o, "question", &question, where, e));
    TRY(need_choices(n, where, e));
    if (n > 26) return error_set(e, "%s: more choices than letters", where);
    str_printf(&text,
               "The following are multiple choice questions (with answers) about %s.\n\n%s\n",
               replace(q->arena, subject, "_", " "), strip(q->arena, question));
    for (size_t i = 0; i < n; i++) {
        const char *choice = json_string_value(json_array_get(choices, i));
        str_printf(&text, "%c. %s\n", 'A' + (int)i, choice ? choice : "");
        if (!choice) error_set(e, "%s: choice %zu is not a string", where, i);
        if (!choice) n = 0;
    }
    str_puts(&text, "Answer:");
    const char *context = arena_strdup(q->arena, text.data);
    str_fini(&text);
    for (size_t i = 0; i < n; i++)
        add_answer(q, context, arena_printf(q->arena, "%c", 'A' + (int)i));
    if (n == 0) return ERROR_FAILED;
    const char *letter = json_string_value(json_object_get(o, "answer"));
    q->gold = letter ? read_index(letter, n) : NO_CHOICE;
    return q->gold >= 0 ? 0 : read_gold(o, "answer", 0, where, q, e);
}

/* ------------------------------------------------------------------ the table */

/* From the most particular to the most general. */
static const struct eval_form FORMS[] = {
    {"piqa", "goal, sol1, sol2, label", true, is_piqa, read_piqa},
    {"winogrande", "sentence, option1, option2", false, is_winogrande, read_winogrande},
    {"hellaswag", "activity_label, ctx_a, ctx_b, endings", true, is_hellaswag, read_hellaswag},
    {"openbookqa", "question_stem, choices, answerKey", true, is_openbookqa, read_openbookqa},
    {"arc", "question, choices, answerKey", true, is_arc, read_arc},
    {"mmlu", "subject, question, choices", false, is_mmlu, read_mmlu},
    {"choice", "question, choices, answer", true, is_choice, read_choice},
};

const struct eval_form *eval_form_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++)
        if (strcmp(FORMS[i].name, name) == 0) return &FORMS[i];
    return NULL;
}

const struct eval_form *eval_form_of(const json_t *o)
{
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++)
        if (FORMS[i].matches(o)) return &FORMS[i];
    return NULL;
}

void eval_form_list(struct str *out)
{
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++)
        str_printf(out, "%s%s {%s}", i ? "; " : "", FORMS[i].name, FORMS[i].keys);
}
