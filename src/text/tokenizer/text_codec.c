/* text_codec.c: text to ids and back between two descriptors.
 *
 * The form is spm_encode's: ids in decimal joined by one space, one line of ids for every line of
 * text, an empty one for an empty one. The work is the tokenizer's; everything around it is kept
 * out of its way: input in blocks of whole lines, chunks of a block on all threads, digits two at a
 * time from a table, output in one write per chunk and in order.
 *
 * Without lines the whole input is one text, because tokens may cross line ends: it has to fit in
 * memory, and a limit says so before the machine swaps. */
#include "text/tokenizer/text_tokenizer_internal.h"

enum {
    CODEC_BLOCK = 4 << 20,      /* bytes of input taken at once */
    CODEC_CHUNK = 64 << 10,     /* bytes of text in a task */
    CODEC_LIMIT = 1 << 30,      /* bytes of a line, or of a text without lines */
    CODEC_ID_CHARS = 11,        /* ten digits and a space */
    CODEC_MAX_IDS = 1 << 28,    /* of one text to decode */
    CODEC_PRINT_IDS = 64 << 10, /* formatted before they are written */
    CODEC_SHOWN_WORD = 40       /* characters of a bad word in a message */
};

/* Input in blocks that end with a separator. */
struct codec_input {
    int fd;
    const char *name;
    char *buf;
    size_t used, cap; /* bytes in buf */
    size_t taken;     /* of them, the block handed out last */
    bool eof;
};

/* Reads at least `want` bytes into the buffer, or up to the end. */
static int input_read(struct codec_input *in, size_t want, struct error *e)
{
    while (in->used < want && !in->eof) {
        if (in->used == in->cap) {
            size_t cap = MAX(2 * in->cap, (size_t)CODEC_BLOCK);
            char *grown = cap <= 2 * (size_t)CODEC_LIMIT ? mem_try_realloc(in->buf, cap) : NULL;
            if (!grown) return error_set(e, "no memory for %zu bytes of '%s'", cap, in->name);
            in->buf = grown;
            in->cap = cap;
        }
        int64_t n = corpus_read_fd(in->fd, in->buf + in->used, in->cap - in->used, in->name, e);
        if (n < 0) return (int)n;
        in->eof = n == 0;
        in->used += (size_t)n;
    }
    return 0;
}

/* Length up to and with the last separator: a line end, or with `words` any white space. */
static size_t last_separator(const struct codec_input *in, bool words)
{
    size_t n = in->used;
    if (!words) {
        const char *nl = n ? memrchr(in->buf, '\n', n) : NULL;
        return nl ? (size_t)(nl - in->buf) + 1 : 0;
    }
    while (n > 0 && !byte_is_space(in->buf[n - 1]))
        n--;
    return n;
}

/* The next block in buf[0, *size): *size 0 at the end. */
static int input_block(struct codec_input *in, bool words, size_t *size, struct error *e)
{
    memmove(in->buf, in->buf + in->taken, in->used - in->taken);
    in->used -= in->taken;
    in->taken = 0;
    for (size_t want = CODEC_BLOCK;; want = 2 * in->used) {
        TRY(input_read(in, want, e));
        in->taken = in->eof ? in->used : last_separator(in, words);
        *size = in->taken;
        if (in->taken > 0 || in->eof) return 0;
        if (in->used > CODEC_LIMIT) {
            error_set(e, "'%s' has a %s of more than 1 GiB", in->name, words ? "word" : "line");
            return error_hint(e, "colossus data tokenize reads documents of any size");
        }
    }
}

static void input_init(struct codec_input *in, int fd, const char *name)
{
    *in = (struct codec_input){.fd = fd, .name = name, .buf = mem_alloc(CODEC_BLOCK)};
    in->cap = CODEC_BLOCK;
}

/* ------------------------------------------------------------------ encoding */

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930"
                                  "31323334353637383940414243444546474849505152535455565758596061"
                                  "62636465666768697071727374757677787980818283848586878889909192"
                                  "93949596979899";

/* Decimal digits of v at p; returns what is behind them. */
static char *print_id(char *p, uint32_t v)
{
    char digits[10];
    size_t at = sizeof(digits);
    while (v >= 100) {
        at -= 2;
        memcpy(digits + at, digit_pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(digits + at, digit_pairs + 2 * v, 2);
    } else {
        digits[--at] = (char)('0' + v);
    }
    memcpy(p, digits + at, sizeof(digits) - at);
    return p + (sizeof(digits) - at);
}

/* Ids joined by spaces and `end` behind them. */
static void print_ids(const uint32_t *ids, size_t count, char end, struct str *out)
{
    str_reserve(out, out->len + count * CODEC_ID_CHARS + 2);
    char *p = out->data + out->len;
    for (size_t i = 0; i < count; i++) {
        p = print_id(p, ids[i]);
        *p++ = ' ';
    }
    if (count > 0) p--;
    *p++ = end;
    *p = '\0';
    out->len = (size_t)(p - out->data);
}

/* Lines of a block that one task encodes; `out` keeps its memory from block to block. */
struct encode_chunk {
    size_t start, size;
    struct str out;
};

struct encoder {
    const tokenizer_t *tokenizer;
    unsigned flags;
    int n_threads;
    tokenizer_scratch_t **scratch; /* one per thread; so for the next */
    struct token_array *ids;
    struct encode_chunk *chunks;
    size_t n_chunks, cap_chunks;
    const char *text; /* the block */
};

/* Runs on any thread; it touches its chunk and the thread's own scratch and ids only. */
static void encode_chunk(void *ctx, size_t task, int thread)
{
    struct encoder *c = ctx;
    struct encode_chunk *chunk = &c->chunks[task];
    struct token_array *ids = &c->ids[thread];
    const char *p = c->text + chunk->start, *end = p + chunk->size;

    str_clear(&chunk->out);
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl ? nl : end;
        ids->count = 0;
        tokenizer_encode(c->tokenizer, c->scratch[thread], p, (size_t)(stop - p), c->flags, ids);
        print_ids(ids->ids, ids->count, '\n', &chunk->out);
        p = nl ? nl + 1 : end;
    }
}

/* Cuts the block into chunks of whole lines. */
static void cut_chunks(struct encoder *c, size_t size)
{
    c->n_chunks = 0;
    for (size_t start = 0; start < size;) {
        size_t end = MIN(size, start + CODEC_CHUNK);
        const char *nl = memchr(c->text + end - 1, '\n', size - (end - 1));
        end = nl ? (size_t)(nl - c->text) + 1 : size;
        ARRAY_RESERVE_ZEROED(c->chunks, c->cap_chunks, c->n_chunks + 1);
        c->chunks[c->n_chunks].start = start;
        c->chunks[c->n_chunks++].size = end - start;
        start = end;
    }
}

/* Blocks of whole lines, their chunks in parallel, the results written in order. */
static int encode_lines(struct encoder *c, struct codec_input *in, struct pool *pool, int out_fd,
                        struct error *e)
{
    for (;;) {
        size_t size;
        TRY(input_block(in, false, &size, e));
        if (size == 0) return 0;
        c->text = in->buf;
        cut_chunks(c, size);
        pool_run(pool, c->n_chunks, encode_chunk, c);
        for (size_t i = 0; i < c->n_chunks; i++)
            TRY(file_write_fd(out_fd, c->chunks[i].out.data, c->chunks[i].out.len, "output", e));
    }
}

/* One text, so one thread: where a token begins depends on what stands before it. */
static int encode_whole(struct encoder *c, struct codec_input *in, int out_fd, struct error *e)
{
    TRY(input_read(in, (size_t)CODEC_LIMIT + 1, e));
    if (in->used > CODEC_LIMIT) {
        error_set(e, "'%s' has more than 1 GiB", in->name);
        return error_hint(e, "--lines encodes line by line; data tokenize takes any size");
    }
    struct token_array *ids = &c->ids[0];
    struct str out = {0};
    int rc = 0;
    tokenizer_encode(c->tokenizer, c->scratch[0], in->buf, in->used, c->flags, ids);
    for (size_t i = 0; (i < ids->count || i == 0) && rc >= 0; i += CODEC_PRINT_IDS) {
        size_t n = MIN(ids->count - i, (size_t)CODEC_PRINT_IDS);
        str_clear(&out);
        print_ids(ids->ids + i, n, i + n < ids->count ? ' ' : '\n', &out);
        rc = file_write_fd(out_fd, out.data, out.len, "output", e);
    }
    str_fini(&out);
    return rc;
}

int codec_encode_fd(const tokenizer_t *t, const struct codec_options *o, int in_fd, int out_fd,
                    const char *name, struct error *e)
{
    struct encoder c = {.tokenizer = t, .flags = o->flags, .n_threads = pool_threads(o->pool)};
    struct codec_input in;

    c.scratch = mem_calloc((size_t)c.n_threads, sizeof(*c.scratch));
    c.ids = mem_calloc((size_t)c.n_threads, sizeof(*c.ids));
    for (int i = 0; i < c.n_threads; i++)
        c.scratch[i] = tokenizer_scratch_new(t);
    input_init(&in, in_fd, name);
    int rc =
        o->lines ? encode_lines(&c, &in, o->pool, out_fd, e) : encode_whole(&c, &in, out_fd, e);
    for (int i = 0; i < c.n_threads; i++) {
        tokenizer_scratch_free(c.scratch[i]);
        token_array_fini(&c.ids[i]);
    }
    for (size_t i = 0; i < c.cap_chunks; i++)
        str_fini(&c.chunks[i].out);
    mem_free(c.scratch);
    mem_free(c.ids);
    mem_free(c.chunks);
    mem_free(in.buf);
    return rc;
}

/* ------------------------------------------------------------------ decoding */

struct decoder {
    const tokenizer_t *tokenizer;
    unsigned flags;
    const char *name;
    uint32_t vocab_size;
    uint64_t line, word; /* of the word read last, from 1 */
    struct token_array ids;
    struct str out;
};

/* One word of the input to an id of the vocabulary; the error says which of the two it is not. */
static int parse_word(const struct decoder *c, const char *word, size_t size, uint32_t *id,
                      struct error *e)
{
    uint64_t v;
    bool digits = digits_parse(word, size, &v) == size;

    if (digits && v < c->vocab_size) {
        *id = (uint32_t)v;
        return 0;
    }
    error_set(e, "%s: line %llu, word %llu: '%.*s' is %s", c->name, (unsigned long long)c->line,
              (unsigned long long)c->word, (int)MIN(size, (size_t)CODEC_SHOWN_WORD), word,
              digits ? "beyond the vocabulary" : "not a token id");
    return error_hint(e, "ids are whole numbers from 0 to %u, separated by white space",
                      c->vocab_size - 1);
}

/* Writes the text of the ids collected, and `end` where it is not 0. */
static int decode_flush(struct decoder *c, char end, struct error *e)
{
    int rc = tokenizer_decode(c->tokenizer, c->ids.ids, c->ids.count, c->flags, &c->out, e);
    if (rc < 0) {
        error_context(e, "%s: line %llu", c->name, (unsigned long long)c->line);
        return rc;
    }
    if (end) str_append_char(&c->out, end);
    c->ids.count = 0;
    return 0;
}

/* Without lines a line end is only white space, but it still counts for messages. */
static int decode_block(struct decoder *c, const char *p, size_t size, bool lines, struct error *e)
{
    for (const char *end = p + size; p < end;) {
        if (*p == '\n') {
            if (lines) TRY(decode_flush(c, '\n', e));
            c->line++;
            c->word = 0;
        }
        if (byte_is_space(*p)) {
            p++;
            continue;
        }
        const char *word = p;
        uint32_t id = 0;
        while (p < end && !byte_is_space(*p))
            p++;
        c->word++;
        TRY(parse_word(c, word, (size_t)(p - word), &id, e));
        if (c->ids.count == CODEC_MAX_IDS) {
            error_set(e, "%s: more than %d ids in one text", c->name, CODEC_MAX_IDS);
            return error_hint(e, "--lines decodes line by line");
        }
        token_array_push(&c->ids, id);
    }
    return 0;
}

static int decode_stream(struct decoder *c, struct codec_input *in, bool lines, int out_fd,
                         struct error *e)
{
    bool ended = true; /* the input ended with a line end */

    for (;;) {
        size_t size;
        TRY(input_block(in, !lines, &size, e));
        if (size == 0) break;
        TRY(decode_block(c, in->buf, size, lines, e));
        ended = in->buf[size - 1] == '\n';
        TRY(file_write_fd(out_fd, c->out.data, c->out.len, "output", e));
        str_clear(&c->out);
    }
    if (!lines || !ended) TRY(decode_flush(c, lines ? '\n' : '\0', e));
    return file_write_fd(out_fd, c->out.data, c->out.len, "output", e);
}

int codec_decode_fd(const tokenizer_t *t, const struct codec_options *o, int in_fd, int out_fd,
                    const char *name, struct error *e)
{
    struct decoder c = {.tokenizer = t,
                        .flags = o->flags,
                        .name = name,
                        .vocab_size = tokenizer_vocab_size(t),
                        .line = 1};
    struct codec_input in;

    input_init(&in, in_fd, name);
    int rc = decode_stream(&c, &in, o->lines, out_fd, e);
    token_array_fini(&c.ids);
    str_fini(&c.out);
    mem_free(in.buf);
    return rc;
}
