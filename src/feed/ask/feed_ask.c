/* feed_ask.c: a question answered from the posts of a store, with its sources.
 *
 *   gather   posts that have the question's words (feed_question.c); where one text takes most of the
 *            room it is searched around, at most three times
 *   choose   each text once, by who said it first (feed_sources.c)
 *   write    a model writes from them (feed_prompt.c); without one, or where nothing that it wrote
 *            holds, the best posts are quoted, which is said
 *   check    each sentence rests on a post or is dropped (feed_check.c)
 *
 * Without a source nothing is answered and no model is asked. Each statement, a sentence or a quoted
 * post, has as many independent sources as authors say it; one with fewer than two is "single source",
 * and where that is all there is the answer is "single source, unverified".
 * A time for each of these, in milliseconds, comes with the answer. */
#include "feed/ask/feed_ask_internal.h"

#define ROUNDS   3
#define QUOTES   3
#define NEARLY   0.8 /* a quoted post has so much of what the best one has of the question */
#define MAX_NOTE 8
#define SINGLE   "single source, unverified"

static void note(struct feed_reply *x, const char *text)
{
    if (x->n_reasons < MAX_NOTE) x->reasons[x->n_reasons++] = text;
}

static void degrade(struct feed_reply *x, const char *text)
{
    x->degraded = true;
    note(x, text);
}

/* -"the first words of a text": posts that have them are left out of a search. */
static void put_without(struct feed_slice text, struct str *out)
{
    struct feed_terms t = {0};
    size_t n = 0;
    feed_terms_of_text(&t, text.s, text.n);
    for (size_t i = 0; i < t.n && n < 5; i++) {
        const struct feed_term *x = &t.items[i];
        if (x->kind != FEED_WORD) continue;
        str_printf(out, "%s%.*s", n++ ? " " : " -\"", (int)x->n, feed_term_text(&t, x));
    }
    if (n) str_append_char(out, '"');
    feed_terms_fini(&t);
}

static int gather_and_choose(feed_store_t *s, const struct feed_question *q,
                             const struct feed_ask_options *o, struct arena *a,
                             struct feed_reply *x, struct error *e)
{
    struct feed_candidates c = {0};
    struct feed_gather g = {.q = q, .o = o, .a = a};
    struct str without = {0};
    int rc = 0;
    for (int round = 0; round <= ROUNDS && rc >= 0; round++) {
        struct feed_slice flood;
        size_t had = c.n;
        rc = feed_question_gather(s, &g, &c, e);
        if (rc < 0 || (round > 0 && c.n == had)) break;
        feed_sources_choose(&c, o, a, x, &flood);
        if (flood.n == 0) break;
        size_t before = without.len;
        put_without(flood, &without);
        if (without.len == before || without.len > 2000) break;
        g.without = without.data;
        if (round == 0) note(x, "many posts repeat one text: others were looked for");
    }
    x->gathered = c.n;
    x->orders = c.orders;
    if (c.orders)
        note(x, arena_printf(
                    a, "%llu %s left out that %s orders to machines", (unsigned long long)c.orders,
                    c.orders == 1 ? "post was" : "posts were", c.orders == 1 ? "gives" : "give"));
    x->queries = arena_strdup(a, c.queries.len ? c.queries.data : "");
    feed_candidates_fini(&c);
    str_fini(&without);
    return rc;
}

/* ------------------------------------------------------------------ the answer */

/* What is said of a statement that so many authors make. */
static const char *alone(const struct feed_reply *x, size_t voices)
{
    return voices < 2 && !x->label ? " (single source)" : "";
}

static void quote(struct feed_reply *x, struct arena *a)
{
    struct str text = {0};
    double best = 0;
    bool borne_out = false;
    x->quoted = true;
    for (size_t i = 0; i < x->n_sources; i++)
        best = MAX(best, x->sources[i].covered);
    for (size_t i = 0; i < x->n_sources && x->n_quotes < QUOTES; i++) {
        x->sources[i].cited = x->sources[i].covered >= NEARLY * best;
        x->n_quotes += x->sources[i].cited;
        borne_out |= x->sources[i].cited && x->sources[i].agree > 0;
    }
    if (!borne_out) x->label = SINGLE;
    for (size_t i = 0; i < x->n_sources; i++) {
        if (!x->sources[i].cited) continue;
        const struct feed_post *p = &x->sources[i].post;
        char when[32];
        feed_time_text(p->created_ms, when);
        const struct feed_slice who = p->author.n ? p->author : p->author_id;
        str_printf(&text, "%s%s", text.len ? "\n" : "", p->author.n ? "@" : "");
        feed_prompt_text(who, 60, &text);
        str_printf(&text, ", %.10s: \"", when);
        feed_prompt_text(p->text, 2000, &text);
        str_printf(&text, "\" [%zu]%s", i + 1, alone(x, 1 + x->sources[i].agree));
    }
    x->text = arena_strdup(a, text.len ? text.data : "");
    str_fini(&text);
}

static void join_sentences(struct feed_reply *x, struct arena *a)
{
    struct str text = {0};
    size_t most = 0;
    for (size_t i = 0; i < x->n_sentences; i++)
        if (!x->sentences[i].dropped) most = MAX(most, x->sentences[i].voices);
    if (most < 2) x->label = SINGLE;
    for (size_t i = 0; i < x->n_sentences; i++) {
        const struct feed_sentence *s = &x->sentences[i];
        if (s->dropped) continue;
        str_printf(&text, "%s%s [%zu]%s", text.len ? " " : "", s->text, s->source + 1,
                   alone(x, s->voices));
    }
    x->text = arena_strdup(a, text.data);
    str_fini(&text);
}

/* Different authors who were the first to say what is cited. */
static void count_independent(struct feed_reply *x)
{
    struct feed_keys seen = {0};
    x->independent = 0;
    for (size_t i = 0; i < x->n_sources; i++) {
        const struct feed_post *p = &x->sources[i].post;
        if (!x->sources[i].cited) continue;
        int64_t *at = feed_keys_at(&seen, feed_author_key(p), true);
        x->independent += *at == 0;
        *at = 1;
    }
    feed_keys_fini(&seen);
}

/* "NOT FOUND", and hardly more. */
static bool says_nothing(const char *text)
{
    const char *at = strstr(text, "NOT FOUND");
    return at && at - text < 8 && strlen(at) < 24;
}

/* Asks the model, and checks what it wrote; false: nothing of it holds. */
static bool write_answer(struct feed_reply *x, const struct feed_ask_options *o, struct arena *a)
{
    struct str system = {0}, user = {0}, text = {0};
    struct error e = {0};
    double t0 = time_now_s();
    feed_prompt_write(x, o->mark, &system, &user);
    int rc = o->write(o->ctx, system.data, user.data, &text, &e);
    double t1 = time_now_s();
    x->write_ms = 1000 * (t1 - t0);
    if (rc < 0)
        degrade(x, arena_printf(a, "the model did not answer: %s", e.text));
    else if (says_nothing(text.len ? text.data : ""))
        degrade(x, "the model found no answer in the posts, which are quoted");
    else if (text.len) {
        x->wrote = arena_strdup(a, text.data);
        feed_check_text(x, text.data, a);
        if (!x->n_kept) degrade(x, "no sentence of the model's holds, so posts are quoted");
    } else {
        degrade(x, "the model wrote nothing, so posts are quoted");
    }
    x->check_ms = 1000 * (time_now_s() - t1);
    str_fini(&system);
    str_fini(&user);
    str_fini(&text);
    return x->n_kept > 0;
}

static void answer(struct feed_reply *x, const struct feed_ask_options *o, struct arena *a)
{
    if (x->n_sources == 0) {
        x->text = "No post in the store answers this.";
        degrade(x, "nothing was found");
        return;
    }
    if (!o->write) note(x, "no model was asked: posts are quoted");
    if (o->write && write_answer(x, o, a))
        join_sentences(x, a);
    else
        quote(x, a);
    x->answered = true;
    count_independent(x);
}

int feed_ask(feed_store_t *s, const char *question, const struct feed_ask_options *o,
             struct arena *a, struct feed_reply *x, struct error *e)
{
    struct feed_question q;
    double t0 = time_now_s();
    *x = (struct feed_reply){.question = arena_strdup(a, question), .model = o->model};
    x->asked_ms = feed_now_ms();
    x->store = s->m.identity;
    x->reasons = arena_alloc(a, MAX_NOTE * sizeof(char *));
    TRY(feed_question_read(s, question, &q, a, e));
    TRY(gather_and_choose(s, &q, o, a, x, e));
    x->search_ms = 1000 * (time_now_s() - t0);
    if (o->on_sources) o->on_sources(o->ctx, x);
    answer(x, o, a);
    x->total_ms = 1000 * (time_now_s() - t0);
    return 0;
}

/* ------------------------------------------------------------------ as JSON */

bool feed_post_link(const struct feed_post *p, char *out, size_t size)
{
    int n = 0;
    const char *slash = memchr(p->id.s, '/', p->id.n);
    for (size_t i = 0; i < p->id.n; i++)
        if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:/._-",
                    p->id.s[i]))
            return false;
    if (p->service == FEED_X) {
        bool plain = p->author.n > 0;
        for (size_t i = 0; i < p->author.n; i++)
            plain &= (p->author.s[i] >= '0' && p->author.s[i] <= '9') || p->author.s[i] == '_' ||
                     ((p->author.s[i] | 0x20) >= 'a' && (p->author.s[i] | 0x20) <= 'z');
        n = snprintf(out, size, "https://x.com/%.*s/status/%.*s", plain ? (int)p->author.n : 1,
                     plain ? p->author.s : "i", (int)p->id.n, p->id.s);
    } else if (p->service == FEED_BLUESKY && slash) {
        n = snprintf(out, size, "https://bsky.app/profile/%.*s/post/%.*s", (int)(slash - p->id.s),
                     p->id.s, (int)(p->id.s + p->id.n - slash - 1), slash + 1);
    }
    return n > 0 && (size_t)n < size;
}

static json_t *source_json(const struct feed_source *s, size_t number)
{
    char link[1024];
    json_t *j = feed_post_to_json(&s->post);
    json_object_set_new(j, "n", json_integer((json_int_t)number));
    json_object_set_new(j, "cited", json_boolean(s->cited));
    json_object_set_new(j, "posts", json_integer((json_int_t)s->posts));
    json_object_set_new(j, "authors", json_integer((json_int_t)s->authors));
    json_object_set_new(j, "borne_out_by", json_integer((json_int_t)s->agree));
    json_object_set_new(j, "covered", json_real(s->covered));
    json_object_set_new(j, "relevance", json_real(s->relevance));
    if (s->label) json_object_set_new(j, "label", json_string(s->label));
    if (feed_post_link(&s->post, link, sizeof(link)))
        json_object_set_new(j, "link", json_string(link));
    return j;
}

json_t *feed_sources_json(const struct feed_reply *x)
{
    json_t *sources = json_array();
    for (size_t i = 0; i < x->n_sources; i++)
        json_array_append_new(sources, source_json(&x->sources[i], i + 1));
    return sources;
}

json_t *feed_reply_json(const struct feed_reply *x)
{
    json_t *sources = feed_sources_json(x), *sentences = json_array(), *reasons = json_array();
    for (size_t i = 0; i < x->n_sentences; i++) {
        const struct feed_sentence *s = &x->sentences[i];
        json_t *j = json_pack("{s:s}", "text", s->text);
        if (s->dropped)
            json_object_set_new(j, "dropped", json_string(s->dropped));
        else
            json_object_update_new(j, json_pack("{s:I,s:I}", "source", (json_int_t)s->source + 1,
                                                "independent_sources", (json_int_t)s->voices));
        json_array_append_new(sentences, j);
    }
    for (size_t i = 0; i < x->n_reasons; i++)
        json_array_append_new(reasons, json_string(x->reasons[i]));
    json_t *ms = json_pack("{s:f,s:f,s:f,s:f}", "sources", x->search_ms, "writing", x->write_ms,
                           "checking", x->check_ms, "total", x->total_ms);
    json_t *j = json_pack(
        "{s:s,s:I,s:s,s:b,s:b,s:b,s:o,s:I,s:o,s:o,s:I,s:I,s:I,s:s,s:o}", "question", x->question,
        "asked_ms", (json_int_t)x->asked_ms, "answer", x->text, "answered", (int)x->answered,
        "quoted", (int)x->quoted, "degraded", (int)x->degraded, "reasons", reasons,
        "independent_sources", (json_int_t)x->independent, "sources", sources, "sentences",
        sentences, "posts_gathered", (json_int_t)x->gathered, "texts", (json_int_t)x->groups,
        "orders_left_out", (json_int_t)x->orders, "queries", x->queries, "ms", ms);
    CHECK(j != NULL);
    if (x->label) json_object_set_new(j, "label", json_string(x->label));
    if (x->model) json_object_set_new(j, "model", json_string(x->model));
    return j;
}
