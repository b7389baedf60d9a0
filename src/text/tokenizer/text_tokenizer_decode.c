/* text_tokenizer_decode.c: what the pieces of a tokenizer.json become as text, where they are text
 * themselves (byte-level pieces are bytes, and their text is the bytes joined).
 *
 * The file's decoder is a chain of steps, each from a list of strings to another, as in Hugging
 * Face's `tokenizers`: Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece, BPEDecoder; at the
 * end all are joined. Without a decoder a space stands between any two.
 *
 * One id by itself, as a program shows that generates text id by id (tokenizer_piece), goes through
 * the steps that do not depend on its place, and a byte piece is its byte. */
#include "text/tokenizer/text_tokenizer_internal.h"

enum decoder_kind {
    DECODER_REPLACE,
    DECODER_BYTES,
    DECODER_FUSE,
    DECODER_STRIP,
    DECODER_METASPACE,
    DECODER_WORDPIECE,
    DECODER_SUFFIX,
    DECODER_SPACES /* no decoder */
};

struct decoder_step {
    enum decoder_kind kind;
    struct str what; /* STRIP, METASPACE: the character; WORDPIECE, SUFFIX: it */
    struct replacement replacement;
    size_t start, stop; /* STRIP: how many at each end */
    bool flag;          /* METASPACE: a prefix was added; WORDPIECE: clean up */
};

void decoder_fini(struct piece_decoder *d)
{
    for (size_t i = 0; i < d->count; i++) {
        str_fini(&d->steps[i].what);
        replacement_fini(&d->steps[i].replacement);
    }
    mem_free(d->steps);
    str_fini(&d->shown);
    mem_free(d->shown_at);
    *d = (struct piece_decoder){0};
}

/* ------------------------------------------------------------------ lists of strings */

struct strings {
    struct str bytes;
    size_t *ends; /* [count] */
    size_t count, cap;
};

static void strings_clear(struct strings *s)
{
    str_clear(&s->bytes);
    s->count = 0;
}

static void strings_fini(struct strings *s)
{
    str_fini(&s->bytes);
    mem_free(s->ends);
}

/* What was appended to s->bytes since the last call is a string. */
static void strings_end(struct strings *s)
{
    ARRAY_RESERVE(s->ends, s->cap, s->count + 1);
    s->ends[s->count++] = s->bytes.len;
}

static const char *strings_at(const struct strings *s, size_t i, size_t *size)
{
    size_t begin = i ? s->ends[i - 1] : 0;
    *size = s->ends[i] - begin;
    return *size ? s->bytes.data + begin : "";
}

/* ------------------------------------------------------------------ steps on one string */

static bool begins_with(const char *text, size_t size, const struct str *what)
{
    return what->len && size >= what->len && memcmp(text, what->data, what->len) == 0;
}

/* Up to step->start characters at the beginning and step->stop at the end. */
static void strip(const struct decoder_step *step, const char *text, size_t size, struct str *out)
{
    const struct str *what = &step->what;
    size_t n = what->len;
    for (size_t i = 0; i < step->start && begins_with(text, size, what); i++) {
        text += n;
        size -= n;
    }
    for (size_t i = 0; i < step->stop && size >= n && begins_with(text + size - n, n, what); i++)
        size -= n;
    str_append(out, text, size);
}

static void metaspace(const struct decoder_step *step, bool first, const char *text, size_t size,
                      struct str *out)
{
    static const struct str space = {.data = (char *)(uintptr_t) " ", .len = 1}, none = {0};
    text_replace(text, size, &step->what, first && step->flag ? &none : &space, out);
}

/* English that BERT's tokens pulled apart. */
static void clean_up(struct str *text)
{
    static const char *const pairs[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                           {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                           {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    struct str other = {0};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct str what = {.data = (char *)(uintptr_t)pairs[i][0], .len = strlen(pairs[i][0])};
        struct str with = {.data = (char *)(uintptr_t)pairs[i][1], .len = strlen(pairs[i][1])};
        str_clear(&other);
        str_reserve(&other, text->len + 1);
        text_replace(text->data, text->len, &what, &with, &other);
        struct str swap = *text;
        *text = other;
        other = swap;
    }
    str_fini(&other);
}

static void wordpiece(const struct decoder_step *step, bool first, const char *text, size_t size,
                      struct str *out)
{
    struct str word = {0};
    str_reserve(&word, size + 2);
    if (!first && begins_with(text, size, &step->what)) {
        text += step->what.len;
        size -= step->what.len;
    } else if (!first) {
        str_append_char(&word, ' ');
    }
    str_append(&word, text, size);
    if (step->flag) clean_up(&word);
    str_append(out, word.data, word.len);
    str_fini(&word);
}

static void suffix(const struct decoder_step *step, bool last, const char *text, size_t size,
                   struct str *out)
{
    static const struct str space = {.data = (char *)(uintptr_t) " ", .len = 1}, none = {0};
    text_replace(text, size, &step->what, last ? &none : &space, out);
}

static void apply_one(const struct decoder_step *step, bool first, bool last, const char *text,
                      size_t size, struct str *out)
{
    switch (step->kind) {
    case DECODER_REPLACE: replacement_apply(&step->replacement, text, size, out); break;
    case DECODER_STRIP: strip(step, text, size, out); break;
    case DECODER_METASPACE: metaspace(step, first, text, size, out); break;
    case DECODER_WORDPIECE: wordpiece(step, first, text, size, out); break;
    case DECODER_SUFFIX: suffix(step, last, text, size, out); break;
    case DECODER_SPACES:
        if (!first) str_append_char(out, ' ');
        str_append(out, text, size);
        break;
    default: str_append(out, text, size);
    }
}

/* ------------------------------------------------------------------ steps on the list */

/* "<0x4f>" to its byte; negative where it is not one. */
static int byte_of_piece(const char *text, size_t size)
{
    int byte = 0;
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    for (size_t i = 3; i < 5; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0) return -1;
        byte = 16 * byte + digit;
    }
    return byte;
}

/* A run of byte pieces is one string, or U+FFFD for each of them where it is not UTF-8. */
static void flush_bytes(struct str *bytes, struct strings *out)
{
    if (!bytes->len) return;
    if (utf8_valid_size(bytes->data, bytes->len) == bytes->len) {
        str_append(&out->bytes, bytes->data, bytes->len);
        strings_end(out);
    } else {
        for (size_t i = 0; i < bytes->len; i++) {
            str_append(&out->bytes, TEXT_REPLACEMENT, 3);
            strings_end(out);
        }
    }
    str_clear(bytes);
}

static void join_bytes(const struct strings *in, struct strings *out)
{
    struct str bytes = {0};
    for (size_t i = 0; i < in->count; i++) {
        size_t size;
        const char *text = strings_at(in, i, &size);
        int byte = byte_of_piece(text, size);
        if (byte >= 0) {
            str_append_char(&bytes, (char)byte);
            continue;
        }
        flush_bytes(&bytes, out);
        str_append(&out->bytes, text, size);
        strings_end(out);
    }
    flush_bytes(&bytes, out);
    str_fini(&bytes);
}

static void apply_step(const struct decoder_step *step, const struct strings *in,
                       struct strings *out)
{
    strings_clear(out);
    if (step->kind == DECODER_BYTES) {
        join_bytes(in, out);
        return;
    }
    str_reserve(&out->bytes, in->bytes.len + 1);
    if (step->kind == DECODER_FUSE) {
        str_append(&out->bytes, in->bytes.data, in->bytes.len);
        strings_end(out);
        return;
    }
    for (size_t i = 0; i < in->count; i++) {
        size_t size;
        const char *text = strings_at(in, i, &size);
        apply_one(step, i == 0, i + 1 == in->count, text, size, &out->bytes);
        strings_end(out);
    }
}

void decoder_run(const struct tokenizer *t, const uint32_t *ids, size_t count, unsigned flags,
                 struct str *out)
{
    const struct bpe_vocab *v = &t->bpe.vocab;
    struct strings lists[2] = {{{0}}, {{0}}};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct bpe_piece *piece = &v->pieces[ids[i]];
        if (piece->type == BPE_PIECE_CONTROL && !(flags & TOKENIZER_PARSE_SPECIAL)) continue;
        str_append(&lists[0].bytes, bpe_vocab_bytes(v, ids[i]), piece->size);
        strings_end(&lists[0]);
    }
    for (size_t i = 0; i < t->decoder.count; i++, at ^= 1)
        apply_step(&t->decoder.steps[i], &lists[at], &lists[at ^ 1]);
    if (lists[at].bytes.len) str_append(out, lists[at].bytes.data, lists[at].bytes.len);
    strings_fini(&lists[0]);
    strings_fini(&lists[1]);
}

/* ------------------------------------------------------------------ reading */

static struct decoder_step *add(struct piece_decoder *d, enum decoder_kind kind)
{
    d->steps = mem_realloc(d->steps, (d->count + 1) * sizeof(*d->steps));
    d->steps[d->count] = (struct decoder_step){.kind = kind};
    return &d->steps[d->count++];
}

static int copy_string(struct str *to, const json_t *o, const char *key, struct error *e)
{
    const json_t *from = json_object_get(o, key);
    if (!json_is_string(from)) return error_set(e, "'%s' is missing", key);
    str_append(to, json_string_value(from), json_string_length(from));
    return 0;
}

static int read_strip(struct piece_decoder *d, const json_t *o, struct error *e)
{
    struct decoder_step *step = add(d, DECODER_STRIP);
    TRY(copy_string(&step->what, o, "content", e));
    json_int_t start = json_integer_value(json_object_get(o, "start"));
    json_int_t stop = json_integer_value(json_object_get(o, "stop"));
    if (start < 0 || stop < 0) return error_set(e, "Strip: a negative number");
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return 0;
}

/* Older files have add_prefix_space where newer ones have prepend_scheme. */
static int read_metaspace(struct piece_decoder *d, const json_t *o, struct error *e)
{
    struct decoder_step *step = add(d, DECODER_METASPACE);
    step->flag = form_has(o, "prepend_scheme")
                     ? strcmp(form_text(o, "prepend_scheme"), "never") != 0
                     : !json_is_false(json_object_get(o, "add_prefix_space"));
    TRY(copy_string(&step->what, o, "replacement", e));
    return step->what.len ? 0 : error_set(e, "Metaspace: replacement is empty");
}

static int read_step(struct piece_decoder *d, const json_t *o, struct error *e)
{
    const char *type = form_text(o, "type");
    if (strcmp(type, "Replace") == 0)
        return replacement_read(&add(d, DECODER_REPLACE)->replacement, o, e);
    if (strcmp(type, "Strip") == 0) return read_strip(d, o, e);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(d, o, e);
    if (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0) {
        add(d, type[0] == 'F' ? DECODER_FUSE : DECODER_BYTES);
        return 0;
    }
    if (strcmp(type, "WordPiece") == 0) {
        struct decoder_step *step = add(d, DECODER_WORDPIECE);
        step->flag = form_true(o, "cleanup");
        return copy_string(&step->what, o, "prefix", e);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        struct decoder_step *step = add(d, DECODER_SUFFIX);
        TRY(copy_string(&step->what, o, "suffix", e));
        return step->what.len ? 0 : error_set(e, "BPEDecoder: suffix is empty");
    }
    return form_refused("decoder", type, e);
}

/* One piece through the steps that do not depend on where it stands. */
static void show_piece(const struct piece_decoder *d, const char *text, size_t size,
                       struct str work[2], struct str *out)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct decoder_step *step = &d->steps[i];
        int byte = step->kind == DECODER_BYTES ? byte_of_piece(text, size) : -1;
        if (byte >= 0) {
            str_append_char(out, (char)byte);
            return;
        }
        if (step->kind == DECODER_STRIP || step->kind == DECODER_SPACES) continue;
        struct str *to = &work[i % 2];
        str_clear(to);
        str_reserve(to, size + 1);
        apply_one(step, false, false, text, size, to);
        text = to->data;
        size = to->len;
    }
    str_append(out, text, size);
}

static void show_pieces(struct tokenizer *t)
{
    const struct bpe_vocab *v = &t->bpe.vocab;
    struct piece_decoder *d = &t->decoder;
    struct str work[2] = {{0}, {0}};
    d->shown_at = mem_alloc((v->count + (size_t)1) * sizeof(*d->shown_at));
    str_reserve(&d->shown, v->blob_size + 1);
    for (uint32_t id = 0; id < v->count; id++) {
        d->shown_at[id] = (uint32_t)d->shown.len;
        show_piece(d, bpe_vocab_bytes(v, id), v->pieces[id].size, work, &d->shown);
    }
    d->shown_at[v->count] = (uint32_t)d->shown.len;
    str_fini(&work[0]);
    str_fini(&work[1]);
}

/* Replacing may make pieces longer: as many times as a file of this size has room for. */
static int check_growth(const struct piece_decoder *d, size_t pieces, struct error *e)
{
    double factor = 1;
    for (size_t i = 0; i < d->count; i++)
        factor *= 2 + (double)d->steps[i].replacement.with.len;
    if ((double)pieces * factor < 0x1p31) return 0;
    return error_set(e, "decoder: pieces of %zu bytes would grow beyond 2 GiB", pieces);
}

int decoder_read(struct tokenizer *t, const json_t *decoder, struct error *e)
{
    enum { MAX_STEPS = 16 };
    bool sequence = strcmp(form_text(decoder, "type"), "Sequence") == 0;
    const json_t *list = sequence ? json_object_get(decoder, "decoders") : NULL;
    size_t n = sequence ? json_array_size(list) : 1;
    bool none = !decoder || json_is_null(decoder);
    if (n > MAX_STEPS) return error_set(e, "more than %d decoders", MAX_STEPS);
    if (t->byte_level) {
        const json_t *only = sequence ? json_array_get(list, 0) : decoder;
        if (none || n == 0 || (n == 1 && strcmp(form_text(only, "type"), "ByteLevel") == 0))
            return 0;
        return form_refused("behind byte-level pieces decoder",
                            sequence ? form_text(json_array_get(list, n - 1), "type")
                                     : form_text(decoder, "type"),
                            e);
    }
    if (none) add(&t->decoder, DECODER_SPACES);
    for (size_t i = 0; i < n && !none; i++)
        if (read_step(&t->decoder, sequence ? json_array_get(list, i) : decoder, e) < 0)
            return error_context(e, "decoder");
    TRY(check_growth(&t->decoder, t->bpe.vocab.blob_size, e));
    show_pieces(t);
    return 0;
}
