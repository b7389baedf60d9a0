/* serve_gguf.c: the tokenizer of a GGUF file, written anew in the form that it came from before
 * somebody converted it, and read as that (text.h): a tokenizer.json of byte-level BPE ("gpt2"), or a
 * SentencePiece model ("llama").
 *
 *   tokenizer.ggml.model           which of the two
 *   tokenizer.ggml.pre             of "gpt2": how text is cut into words, a name for each published
 *                                  tokenizer; what each does is in the table below (llama.cpp,
 *                                  llama-vocab.cpp)
 *   tokenizer.ggml.tokens, scores, token_type, merges
 *
 * Types: 1 normal, 2 unknown, 3 control, 4 defined by a user, 5 unused, 6 a byte. */
#include "serve/serve_gguf_internal.h"

#include <string.h>

enum piece_type { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

#define GPT2_WORDS \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_WORDS(digits)                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Letters of deepseek-llm: those of scripts that know upper case. */
#define CASED_LETTERS                                                                  \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁ"   \
    "Ҋ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ" \
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐ"      \
    "ῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹ"    \
    "ℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇ"   \
    "Ꞌ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲"   \
    "𐳀-𐳲𑢠-𑣟𞤀-𞥃"
#define HAN_AND_MORE "[一-龥ࠀ-一가-\xed\x9f\xbf]+"
#define QWEN35_WORDS                                                            \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}" \
    "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define FALCON_MARKS "[\\p{P}\\$\\+<=>\\^~\\|`]+"

/* Cuts one after the other. */
static const struct {
    const char *name;
    const char *patterns[6];
    bool whole_words; /* a word that is a piece is taken whole */
} cuts[] = {
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]"}, false},
    {"gpt-2", {GPT2_WORDS}, false},
    {"smollm", {"\\p{N}", GPT2_WORDS}, false},
    {"starcoder", {"\\p{N}", GPT2_WORDS}, false},
    {"refact", {"\\p{N}", GPT2_WORDS}, false},
    {"command-r", {"\\p{N}", GPT2_WORDS}, false},
    {"llama-bpe", {LLAMA3_WORDS("{1,3}")}, true},
    {"llama3", {LLAMA3_WORDS("{1,3}")}, true},
    {"llama-v3", {LLAMA3_WORDS("{1,3}")}, true},
    {"qwen2", {LLAMA3_WORDS("")}, false},
    {"deepseek-r1-qwen", {LLAMA3_WORDS("")}, false},
    {"stablelm2", {LLAMA3_WORDS("")}, false},
    {"qwen35", {QWEN35_WORDS}, false},
    {"mpt", {GPT2_WORDS}, false},
    {"olmo", {GPT2_WORDS}, false},
    {"phi-2", {GPT2_WORDS}, false},
    {"falcon", {FALCON_MARKS, GPT2_WORDS, "[0-9][0-9][0-9]"}, false},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN_AND_MORE, "\\p{N}"}, false},
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", "\\s?[!-/:-~！-／：-～‘-‟\xe3\x80\x80-。]+", "\\s+$",
      HAN_AND_MORE, "\\p{N}+"},
     false},
};

static const struct gguf_value *find(const struct gguf *g, const char *key)
{
    char name[96];
    snprintf(name, sizeof(name), "tokenizer.ggml.%s", key);
    return gguf_find(g, name);
}

static bool is_text(const struct gguf *g, const char *key, const char *text)
{
    struct gguf_text t;
    return gguf_text(find(g, key), &t) && t.size == strlen(text) &&
           memcmp(t.data, text, t.size) == 0;
}

uint32_t serve_gguf_token(const struct gguf *g, const char *key)
{
    double id;
    if (!gguf_number(find(g, key), &id) || id < 0 || id >= 1 << 24) return TOKENIZER_NONE;
    return (uint32_t)id;
}

bool serve_gguf_adds_bos(const struct gguf *g)
{
    double adds;
    if (gguf_number(find(g, "add_bos_token"), &adds)) return adds != 0;
    return is_text(g, "model", "llama");
}

char *serve_gguf_template(const struct gguf *g)
{
    struct gguf_text t;
    if (!gguf_text(gguf_find(g, "tokenizer.chat_template"), &t) || memchr(t.data, 0, t.size))
        return NULL;
    char *out = mem_alloc(t.size + 1);
    memcpy(out, t.data, t.size);
    out[t.size] = '\0';
    return out;
}

static enum piece_type type_of(const struct gguf_value *types, size_t i)
{
    return types ? (enum piece_type)gguf_number_of(types, i) : NORMAL;
}

/* The lists that both forms need, which must be as long as each other. */
static int check_lists(const struct gguf *g, const char *name, struct error *e)
{
    const struct gguf_value *tokens = find(g, "tokens"), *types = find(g, "token_type");
    if (!gguf_is_texts(tokens) || tokens->count == 0 || tokens->count > 1 << 22)
        return error_set(e, "%s: 'tokenizer.ggml.tokens' is missing, or no list of texts", name);
    if (types && (!gguf_is_numbers(types) || types->count != tokens->count))
        return error_set(e, "%s: 'tokenizer.ggml.token_type' does not fit the tokens", name);
    for (size_t i = 0; types && i < types->count; i++)
        if (type_of(types, i) < NORMAL || type_of(types, i) > BYTE)
            return error_set(e, "%s: token %zu has a type that is not known", name, i);
    return 0;
}

/* ------------------------------------------------------------------ byte-level BPE */

static int put_cuts(const struct gguf *g, const char *name, struct json_writer *w, struct error *e)
{
    struct gguf_text pre = {"default", 7};
    size_t i = 0;
    gguf_text(find(g, "pre"), &pre);
    while (i < ARRAY_LEN(cuts) &&
           (strlen(cuts[i].name) != pre.size || memcmp(cuts[i].name, pre.data, pre.size) != 0))
        i++;
    if (i == ARRAY_LEN(cuts)) {
        error_set(e, "%s: 'tokenizer.ggml.pre' is '%.*s': how it cuts text is not known", name,
                  (int)MIN(pre.size, 40), pre.data);
        return error_hint(e, "name the model's own tokenizer.json with --tokenizer");
    }
    jsonw_open(w, "pre_tokenizer", '{');
    jsonw_string(w, "type", "Sequence");
    jsonw_open(w, "pretokenizers", '[');
    for (size_t k = 0; k < ARRAY_LEN(cuts[i].patterns) && cuts[i].patterns[k]; k++) {
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "type", "Split");
        jsonw_open(w, "pattern", '{');
        jsonw_string(w, "Regex", cuts[i].patterns[k]);
        jsonw_close(w, '}');
        jsonw_string(w, "behavior", "Isolated");
        jsonw_bool(w, "invert", false);
        jsonw_close(w, '}');
    }
    jsonw_open(w, NULL, '{');
    jsonw_string(w, "type", "ByteLevel");
    jsonw_bool(w, "add_prefix_space", false);
    jsonw_bool(w, "use_regex", false);
    jsonw_close(w, '}');
    jsonw_close(w, ']');
    jsonw_close(w, '}');
    return cuts[i].whole_words;
}

static void put_added(const struct gguf *g, struct json_writer *w)
{
    const struct gguf_value *tokens = find(g, "tokens"), *types = find(g, "token_type");
    size_t at = 0;
    jsonw_open(w, "added_tokens", '[');
    for (size_t i = 0; i < tokens->count; i++) {
        struct gguf_text t = gguf_next_text(tokens, &at);
        enum piece_type type = type_of(types, i);
        if ((type != CONTROL && type != USER && type != UNKNOWN) || t.size == 0) continue;
        jsonw_open(w, NULL, '{');
        jsonw_int(w, "id", (int64_t)i);
        jsonw_string_n(w, "content", t.data, t.size);
        jsonw_bool(w, "single_word", false);
        jsonw_bool(w, "lstrip", false);
        jsonw_bool(w, "rstrip", false);
        jsonw_bool(w, "normalized", false);
        jsonw_bool(w, "special", type != USER);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static int put_bpe(const struct gguf *g, const char *name, bool whole, struct json_writer *w,
                   struct error *e)
{
    const struct gguf_value *tokens = find(g, "tokens"), *merges = find(g, "merges");
    const struct gguf_value *types = find(g, "token_type");
    size_t at = 0;
    if (!gguf_is_texts(merges))
        return error_set(e, "%s: 'tokenizer.ggml.merges' is missing, or no list of texts", name);
    jsonw_open(w, "model", '{');
    jsonw_string(w, "type", "BPE");
    jsonw_bool(w, "ignore_merges", whole);
    jsonw_open(w, "vocab", '{');
    struct str key = {0};
    for (size_t i = 0; i < tokens->count; i++) {
        struct gguf_text t = gguf_next_text(tokens, &at);
        if (t.size == 0 || memchr(t.data, 0, t.size) || type_of(types, i) == UNUSED) continue;
        str_clear(&key);
        str_append(&key, t.data, t.size);
        jsonw_int(w, key.data, (int64_t)i);
    }
    str_fini(&key);
    jsonw_close(w, '}');
    jsonw_open(w, "merges", '[');
    at = 0;
    for (size_t i = 0; i < merges->count; i++) {
        struct gguf_text t = gguf_next_text(merges, &at);
        jsonw_string_n(w, NULL, t.data, t.size);
    }
    jsonw_close(w, ']');
    jsonw_close(w, '}');
    return 0;
}

static int bpe_text(const struct gguf *g, const char *name, struct str *out, struct error *e)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "version", "1.0");
    put_added(g, &w);
    int whole = put_cuts(g, name, &w, e);
    TRY(whole);
    jsonw_open(&w, "decoder", '{');
    jsonw_string(&w, "type", "ByteLevel");
    jsonw_close(&w, '}');
    TRY(put_bpe(g, name, whole, &w, e));
    jsonw_close(&w, '}');
    return 0;
}

/* ------------------------------------------------------------------ SentencePiece */

static void put_varint(struct str *out, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        str_append_char(out, (char)(value | 128));
    str_append_char(out, (char)value);
}

/* Protocol buffers: a field's key is its number and the form of its value. */
static void put_number(struct str *out, uint64_t field, uint64_t value)
{
    put_varint(out, field << 3);
    put_varint(out, value);
}

static void put_bytes(struct str *out, uint64_t field, const void *data, size_t size)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, size);
    str_append(out, data, size);
}

static void put_float(struct str *out, uint64_t field, float value)
{
    put_varint(out, field << 3 | 5);
    str_append(out, &value, sizeof(value));
}

static bool flag(const struct gguf *g, const char *key, bool fallback)
{
    double value;
    return gguf_number(find(g, key), &value) ? value != 0 : fallback;
}

/* Which piece stands for what is not known: one of that type, or the one that a key names, which may have
 * another type in the list (Gemma's). */
static size_t unknown_piece(const struct gguf *g, const struct gguf_value *types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (type_of(types, i) == UNKNOWN) return i;
    return serve_gguf_token(g, "unknown_token_id");
}

/* sentencepiece_model.proto: pieces, TrainerSpec, NormalizerSpec. */
static int spm_text(const struct gguf *g, const char *name, struct str *out, struct error *e)
{
    const struct gguf_value *tokens = find(g, "tokens"), *types = find(g, "token_type");
    const struct gguf_value *scores = find(g, "scores");
    struct str part = {0};
    size_t at = 0, bytes = 0, unknown = unknown_piece(g, types, tokens->count);
    if (!gguf_is_numbers(scores) || scores->count != tokens->count)
        return error_set(e, "%s: 'tokenizer.ggml.scores' is missing, or does not fit the tokens",
                         name);
    for (size_t i = 0; i < tokens->count; i++) {
        struct gguf_text t = gguf_next_text(tokens, &at);
        str_clear(&part);
        put_bytes(&part, 1, t.data, t.size);
        put_float(&part, 2, (float)gguf_number_of(scores, i));
        /* Only one piece may stand for what is unknown; tokens that were added later are marked so,
         * too. */
        enum piece_type type = type_of(types, i);
        if (type == UNKNOWN) type = CONTROL;
        put_number(&part, 3, i == unknown ? UNKNOWN : type);
        bytes += type_of(types, i) == BYTE;
        put_bytes(out, 1, part.data, part.len);
    }
    str_clear(&part);
    put_number(&part, 3, 2); /* BPE */
    put_number(&part, 35, bytes > 0);
    put_bytes(out, 2, part.data, part.len);
    str_clear(&part);
    put_number(&part, 3, flag(g, "add_space_prefix", true));
    put_number(&part, 4, flag(g, "remove_extra_whitespaces", false));
    put_number(&part, 5, 1);
    put_bytes(out, 3, part.data, part.len);
    str_fini(&part);
    return 0;
}

/* ------------------------------------------------------------------ either */

int serve_gguf_tokenizer_file(const struct gguf *g, const char *name, struct str *text,
                              const char **file, struct error *e)
{
    struct gguf_text model = {"", 0};
    bool bpe = is_text(g, "model", "gpt2");
    TRY(check_lists(g, name, e));
    *file = bpe ? "tokenizer.json" : "tokenizer.model";
    if (bpe) return bpe_text(g, name, text, e);
    if (is_text(g, "model", "llama")) return spm_text(g, name, text, e);
    gguf_text(find(g, "model"), &model);
    error_set(e, "%s: a tokenizer of the kind '%.*s'", name, (int)MIN(model.size, 40), model.data);
    return error_hint(e, "read are 'gpt2' and 'llama'; or name a tokenizer with --tokenizer");
}

const char *serve_gguf_cut_name(const char *const *patterns, size_t n, bool whole_words)
{
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        size_t k = 0;
        while (k < n && k < ARRAY_LEN(cuts[i].patterns) && cuts[i].patterns[k] &&
               strcmp(cuts[i].patterns[k], patterns[k]) == 0)
            k++;
        bool all = k == ARRAY_LEN(cuts[i].patterns) || !cuts[i].patterns[k];
        bool own = strcmp(cuts[i].name, "default") != 0; /* which others cut otherwise */
        if (own && k == n && all && cuts[i].whole_words == whole_words) return cuts[i].name;
    }
    return NULL;
}

int serve_gguf_tokenizer(const struct gguf *g, const char *name, tokenizer_t **out, struct error *e)
{
    struct str text = {0};
    const char *file;
    int rc = serve_gguf_tokenizer_file(g, name, &text, &file, e);
    if (rc == 0) rc = tokenizer_parse(text.data, text.len, name, out, e);
    str_fini(&text);
    return rc;
}
