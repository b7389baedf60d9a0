/* text_spm_load.c: SentencePiece .model files (Grok-1, Llama 2, Mistral, Gemma; T5).
 *
 * The file is one protobuf message, sentencepiece_model.proto's ModelProto:
 *   1 pieces (repeated): 1 piece (string), 2 score (float), 3 type
 *   2 trainer_spec: 3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback, 44 unk_surface,
 *     46 bos_piece, 47 eos_piece
 *   3 normalizer_spec, 5 denormalizer_spec: 2 precompiled_charsmap, 3 add_dummy_prefix,
 *     4 remove_extra_whitespaces, 5 escape_whitespaces
 * Field numbers not named here are skipped. The reader below takes any bytes: every length is
 * checked against what is left, and nothing recurses.
 *
 * In memory U+2581, which stands for a space in pieces, is a space: a vocabulary is kept as it
 * decodes. Nothing is confused, as normalised text holds no other spaces; a piece with a real space
 * in it (Grok-1's runs of spaces) can never match, exactly as in the original, and is marked dead.
 *
 * Where escape_whitespaces is off there is nothing to confuse either: pieces are kept as written.
 *
 * Refused with a message: word and character models, a denormalizer with a character map,
 * whitespace as suffix, pieces of type UNUSED in a BPE model. */
#include <float.h>

#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ protobuf */

struct proto_reader {
    const uint8_t *p, *end;
};

enum proto_wire { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };

struct proto_field {
    uint32_t number;
    uint32_t wire;
    uint64_t value;      /* VARINT, FIXED64, FIXED32 */
    const uint8_t *data; /* BYTES */
    size_t size;
};

static inline bool proto_varint(struct proto_reader *r, uint64_t *value)
{
    if (r->p < r->end && *r->p < 0x80) { /* nearly all are one byte */
        *value = *r->p++;
        return true;
    }
    *value = 0;
    for (int shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint8_t byte = *r->p++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static inline bool proto_fixed(struct proto_reader *r, size_t size, uint64_t *value)
{
    if ((size_t)(r->end - r->p) < size) return false;
    *value = 0;
    memcpy(value, r->p, size);
    r->p += size;
    return true;
}

/* 1: *f is the next field; 0: the end; negative: not a message. */
static int proto_next(struct proto_reader *r, struct proto_field *f)
{
    if (r->p == r->end) return 0;
    uint64_t key;
    if (!proto_varint(r, &key) || key > UINT32_MAX || key >> 3 == 0) return ERROR_FAILED;
    *f = (struct proto_field){.number = (uint32_t)(key >> 3), .wire = key & 7};
    switch (f->wire) {
    case PROTO_VARINT: return proto_varint(r, &f->value) ? 1 : ERROR_FAILED;
    case PROTO_FIXED64: return proto_fixed(r, 8, &f->value) ? 1 : ERROR_FAILED;
    case PROTO_FIXED32: return proto_fixed(r, 4, &f->value) ? 1 : ERROR_FAILED;
    case PROTO_BYTES:
        if (!proto_varint(r, &f->value) || f->value > (size_t)(r->end - r->p)) return ERROR_FAILED;
        f->data = r->p;
        f->size = (size_t)f->value;
        r->p += f->size;
        return 1;
    default: return ERROR_FAILED;
    }
}

/* ------------------------------------------------------------------ what the file says */

enum spm_type {
    SPM_NORMAL = 1,
    SPM_UNKNOWN = 2,
    SPM_CONTROL = 3,
    SPM_USER_DEFINED = 4,
    SPM_UNUSED = 5,
    SPM_BYTE = 6
};
enum { SPM_MODEL_UNIGRAM = 1, SPM_MODEL_BPE = 2 };

struct spm_piece {
    const char *text;
    size_t size;
    float score;
    uint64_t type;
};

struct spm_name {
    const char *text;
    size_t size;
};

struct spm_file {
    uint64_t model_type, byte_fallback, suffix;
    struct spm_name unk_surface, bos, eos;
    uint64_t dummy_prefix, remove_extra, escape;
    struct spm_name map; /* the precompiled_charsmap; size 0: none */
    bool reverse_map;    /* the denormalizer has one */
    uint32_t n_pieces, n_bytes;
    float least; /* score of a NORMAL piece */
};

static struct spm_name name_of(const struct proto_field *f)
{
    return (struct spm_name){(const char *)f->data, f->size};
}

/* Fields that are missing keep the defaults of sentencepiece_model.proto, which spm_parse sets. */
static int read_trainer(struct spm_file *file, const struct proto_field *message, struct error *e)
{
    struct proto_reader r = {message->data, message->data + message->size};
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&r, &f)) > 0) {
        bool varint = f.wire == PROTO_VARINT, bytes = f.wire == PROTO_BYTES;
        if (f.number == 3 && varint) file->model_type = f.value;
        if (f.number == 24 && varint) file->suffix = f.value;
        if (f.number == 35 && varint) file->byte_fallback = f.value;
        if (f.number == 44 && bytes) file->unk_surface = name_of(&f);
        if (f.number == 46 && bytes) file->bos = name_of(&f);
        if (f.number == 47 && bytes) file->eos = name_of(&f);
    }
    return rc < 0 ? error_set(e, "trainer_spec is not a protobuf message") : 0;
}

/* reverse: the denormalizer, of which only a character map would change what is decoded. */
static int read_normalizer(struct spm_file *file, const struct proto_field *message, bool reverse,
                           struct error *e)
{
    struct proto_reader r = {message->data, message->data + message->size};
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&r, &f)) > 0) {
        if (f.number == 2 && f.wire == PROTO_BYTES && reverse) file->reverse_map = f.size > 0;
        if (f.number == 2 && f.wire == PROTO_BYTES && !reverse) file->map = name_of(&f);
        if (f.wire != PROTO_VARINT || reverse) continue;
        if (f.number == 3) file->dummy_prefix = f.value;
        if (f.number == 4) file->remove_extra = f.value;
        if (f.number == 5) file->escape = f.value;
    }
    return rc < 0 ? error_set(e, "normalizer_spec is not a protobuf message") : 0;
}

/* A piece as every writer lays it out: text below 128 bytes, score, and the type if it is not
 * NORMAL. Nothing is decided here that read_piece would decide otherwise; it is five times as
 * fast. */
static inline bool read_usual_piece(const struct proto_field *message, struct spm_piece *piece)
{
    const uint8_t *p = message->data;
    size_t size = message->size;
    if (size < 7 || p[0] != 0x0a || p[1] >= 0x80 || p[1] == 0 || size - 7 < p[1]) return false;
    const uint8_t *score = p + 2 + p[1];
    size_t rest = size - 7 - p[1];
    if (score[0] != 0x15 || (rest && (rest != 2 || score[5] != 0x18 || score[6] >= 0x80)))
        return false;
    piece->text = (const char *)p + 2;
    piece->size = p[1];
    memcpy(&piece->score, score + 1, sizeof(piece->score));
    piece->type = rest ? score[6] : SPM_NORMAL;
    return true;
}

static int read_piece(const struct spm_file *file, const struct proto_field *message,
                      struct spm_piece *piece, struct error *e)
{
    if (read_usual_piece(message, piece)) return 0;
    *piece = (struct spm_piece){.type = SPM_NORMAL};
    struct proto_reader r = {message->data, message->data + message->size};
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&r, &f)) > 0) {
        if (f.number == 1 && f.wire == PROTO_BYTES) {
            piece->text = (const char *)f.data;
            piece->size = f.size;
        } else if (f.number == 2 && f.wire == PROTO_FIXED32) {
            memcpy(&piece->score, &f.value, sizeof(piece->score));
        } else if (f.number == 3 && f.wire == PROTO_VARINT) {
            piece->type = f.value;
        }
    }
    if (rc < 0) return error_set(e, "piece %u is truncated", file->n_pieces);
    if (!piece->size) return error_set(e, "piece %u is empty", file->n_pieces);
    return 0;
}

/* ------------------------------------------------------------------ pieces */

int spm_set_score(struct tokenizer *t, uint32_t id, float score, struct error *e)
{
    uint32_t bits;
    if (!(score - score == 0.0f)) return error_set(e, "piece %u: the score is not a number", id);
    score += 0.0f; /* -0 to 0 */
    memcpy(&bits, &score, sizeof(bits));
    /* A float's bits grow with its size: the sign flipped, and all of them for a negative one, they
     * are in order; then upside down, as the highest score comes first. */
    t->bpe.vocab.pieces[id].priority = ~(bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u));
    return 0;
}

/* "<0x4F>" to its byte; negative where it is not one. */
static int byte_of_name(const char *text, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    const char *high = memchr(digits, text[3], 16), *low = memchr(digits, text[4], 16);
    return high && low ? (int)(16 * (high - digits) + (low - digits)) : -1;
}

/* Copies a piece with ' ' for U+2581; returns its size. *inner: a space stands behind something
 * that is none. */
static size_t replace_space_symbol(char *out, const char *text, size_t size, bool *inner)
{
    size_t n = 0;
    for (size_t i = 0; i < size; n++) {
        bool space = size - i >= 3 && memcmp(text + i, SPM_SPACE, 3) == 0;
        if (space && n && out[n - 1] != ' ') *inner = true;
        out[n] = space ? ' ' : text[i];
        i += space ? 3 : 1;
    }
    return n;
}

static int add_byte_piece(struct tokenizer *t, struct spm_file *file, const struct spm_piece *p,
                          struct error *e)
{
    uint32_t id = file->n_pieces;
    int byte = byte_of_name(p->text, p->size);
    if (byte < 0)
        return error_set(e, "piece %u is of type BYTE but not named <0x00> to <0xFF>", id);
    if (t->bpe.byte_ids[byte] != TOKENIZER_NONE)
        return error_set(e, "pieces %u and %u are the same byte", t->bpe.byte_ids[byte], id);
    t->bpe.byte_ids[byte] = id;
    file->n_bytes++;
    char c = (char)byte;
    return bpe_vocab_set(&t->bpe.vocab, id, &c, 1, BPE_PIECE_BYTE, e);
}

/* A unigram model's piece as it looks in memory. A user-defined one has no score of its own yet:
 * take_over writes it when the highest is known. */
static int add_scored(struct tokenizer *t, const struct spm_piece *p, uint32_t id, bool dead,
                      struct error *e)
{
    struct unigram *u = &t->bpe.unigram;
    const struct bpe_piece *piece = &t->bpe.vocab.pieces[id];
    if (!(p->score - p->score == 0.0f))
        return error_set(e, "piece %u: the score is not a number", id);
    if (t->bpe.vocab.blob_size > UNIGRAM_MAX_BYTES)
        return error_set(e, "piece %u: more than %zu bytes of pieces", id, UNIGRAM_MAX_BYTES);
    if (!dead) unigram_add(u, bpe_vocab_bytes(&t->bpe.vocab, id), piece->size, id, false);
    for (; u->n_scores <= id; u->n_scores++) {
        ARRAY_RESERVE(u->scores, u->score_cap, u->n_scores + 1);
        u->scores[u->n_scores] = 0;
    }
    u->scores[id] = p->type == SPM_USER_DEFINED ? (double)p->size : (double)p->score;
    return 0;
}

/* NORMAL and USER_DEFINED pieces. */
static int add_text_piece(struct tokenizer *t, struct spm_file *file, const struct spm_piece *p,
                          struct str *buffer, struct error *e)
{
    uint32_t id = file->n_pieces;
    const char *text = p->text;
    size_t size = p->size;
    if (size > TOKENIZER_MAX_PIECE)
        return error_set(e, "piece %u has %zu bytes, the limit is %u", id, size,
                         TOKENIZER_MAX_PIECE);
    bool user = p->type == SPM_USER_DEFINED, inner = false;
    bool dead = !file->escape ? false : memchr(text, ' ', size) != NULL;
    if (user && utf8_valid_size(text, size) != size)
        return error_set(e, "piece %u is not valid UTF-8", id);
    if (!file->escape) {
        inner = true;
    } else if (memchr(text, SPM_SPACE[0], size)) {
        str_reserve(buffer, size);
        size = replace_space_symbol(buffer->data, text, size, &inner);
        text = buffer->data;
    }
    if (inner && !dead) t->cut_at_spaces = false;
    if (user) {
        struct tokenizer_special s = {.id = id};
        tokenizer_special_add(t, s, text, size);
        if (!dead) match_set_add(&t->user, text, size, id);
        match_set_add(&t->user_raw, p->text, p->size, id);
    }
    TRY(bpe_vocab_set(&t->bpe.vocab, id, text, size, user ? BPE_PIECE_USER : BPE_PIECE_NORMAL, e));
    t->bpe.vocab.pieces[id].dead = dead;
    if (!user) file->least = MIN(file->least, p->score);
    if (t->bpe.rule == BPE_UNIGRAM) TRY(add_scored(t, p, id, dead, e));
    return spm_set_score(t, id, p->score, e);
}

/* Ids are the places of pieces in the file. */
static int add_piece(struct tokenizer *t, struct spm_file *file, const struct spm_piece *p,
                     struct str *buffer, struct error *e)
{
    uint32_t id = file->n_pieces;
    switch (p->type) {
    case SPM_NORMAL:
    case SPM_USER_DEFINED: return add_text_piece(t, file, p, buffer, e);
    case SPM_BYTE: return add_byte_piece(t, file, p, e);
    case SPM_CONTROL:
        tokenizer_special_add(t, (struct tokenizer_special){.id = id, .control = true}, p->text,
                              p->size);
        return bpe_vocab_set(&t->bpe.vocab, id, p->text, p->size, BPE_PIECE_CONTROL, e);
    case SPM_UNKNOWN: /* set at the end, when its surface is known */
        if (t->bpe.unknown_id != TOKENIZER_NONE)
            return error_set(e, "pieces %u and %u are both of type UNKNOWN", t->bpe.unknown_id, id);
        t->bpe.unknown_id = id;
        return 0;
    case SPM_UNUSED:
        if (t->bpe.rule != BPE_UNIGRAM)
            return error_set(e, "piece %u is of type UNUSED, which is not supported", id);
        TRY(bpe_vocab_set(&t->bpe.vocab, id, p->text, p->size, BPE_PIECE_NORMAL, e));
        t->bpe.vocab.pieces[id].dead = true; /* decodes, but never comes out of encoding */
        return 0;
    default:
        return error_set(e, "piece %u has the unknown type %llu", id, (unsigned long long)p->type);
    }
}

/* ------------------------------------------------------------------ the whole */

/* The specs, which may stand behind the pieces and say how these are kept. */
static int read_specs(struct spm_file *file, const uint8_t *data, size_t size, struct error *e)
{
    struct proto_reader r = {data, data + size};
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&r, &f)) > 0) {
        if (f.wire != PROTO_BYTES) continue;
        if (f.number == 1) file->n_pieces++;
        if (f.number == 2) TRY(read_trainer(file, &f, e));
        if (f.number == 3 || f.number == 5) TRY(read_normalizer(file, &f, f.number == 5, e));
    }
    if (rc == 0) return 0;
    return error_set(e, "not a SentencePiece model: byte %zu is not protobuf",
                     (size_t)(r.p - data));
}

static int read_pieces(struct tokenizer *t, struct spm_file *file, const uint8_t *data, size_t size,
                       struct str *buffer, struct error *e)
{
    struct proto_reader r = {data, data + size};
    struct proto_field f;
    struct spm_piece piece;
    file->n_pieces = 0;
    while (proto_next(&r, &f) > 0) {
        if (f.wire != PROTO_BYTES || f.number != 1) continue;
        TRY(read_piece(file, &f, &piece, e));
        TRY(add_piece(t, file, &piece, buffer, e));
        file->n_pieces++;
    }
    return 0;
}

/* What would change ids and is not done here is refused; see the head of this file. */
static int check_specs(const struct spm_file *file, struct error *e)
{
    static const char *const kinds[] = {"", "unigram", "BPE", "word", "char"};
    if (!file->n_pieces) return error_set(e, "no pieces");
    if (file->model_type != SPM_MODEL_BPE && file->model_type != SPM_MODEL_UNIGRAM)
        return error_set(e, "a SentencePiece model of type %s, only BPE and unigram are supported",
                         file->model_type < ARRAY_LEN(kinds) ? kinds[file->model_type] : "unknown");
    if (file->reverse_map)
        return error_set(e, "decoded text goes through a character map, which is not supported");
    if (file->suffix) return error_set(e, "treat_whitespace_as_suffix is not supported");
    return 0;
}

static int check_pieces(const struct tokenizer *t, const struct spm_file *file, struct error *e)
{
    if (t->bpe.unknown_id == TOKENIZER_NONE) return error_set(e, "no piece of type UNKNOWN");
    if (file->byte_fallback && file->n_bytes != 256)
        return error_set(e, "byte_fallback is set but %u of the 256 byte pieces exist",
                         file->n_bytes);
    if (!file->byte_fallback && file->n_bytes)
        return error_set(e, "there are byte pieces but byte_fallback is not set");
    return 0;
}

/* A user-defined symbol is worth a tenth for each byte but one, more than any piece has, so that it
 * is taken (as SentencePiece 0.2.3 has it: ties depend on it). An unknown character costs 10 more
 * than the lowest score. */
static void take_over_scores(struct tokenizer *t, const struct spm_file *file)
{
    struct unigram *u = &t->bpe.unigram;
    for (uint32_t id = 0; id < u->n_scores; id++)
        if (t->bpe.vocab.pieces[id].type == BPE_PIECE_USER)
            u->scores[id] = (double)(float)(0.1 * u->scores[id] - 0.1);
    u->single = true;
    u->unknown_score = (double)(file->least - 10.0f);
}

static int take_over(struct tokenizer *t, const struct spm_file *file, struct error *e)
{
    t->dummy_prefix = file->dummy_prefix;
    t->remove_extra_spaces = file->remove_extra;
    t->literal_spaces = !file->escape;
    t->bpe.byte_fallback = file->byte_fallback;
    t->bos = tokenizer_special_find(t, file->bos.text, file->bos.size, true);
    t->eos = tokenizer_special_find(t, file->eos.text, file->eos.size, true);
    t->eos_marked = t->eos != TOKENIZER_NONE;
    struct spm_name surface = file->unk_surface;
    TRY(bpe_vocab_set(&t->bpe.vocab, t->bpe.unknown_id, surface.text, surface.size,
                      BPE_PIECE_UNKNOWN, e));
    if (file->map.size) TRY(charsmap_load(&t->map, file->map.text, file->map.size, e));
    if (t->bpe.rule == BPE_UNIGRAM) take_over_scores(t, file);
    return bpe_vocab_index(&t->bpe.vocab, e);
}

int spm_parse(struct tokenizer *t, const uint8_t *data, size_t size, struct error *e)
{
    struct spm_file file = {.model_type = 1,
                            .unk_surface = {" \xe2\x81\x87 ", 5},
                            .bos = {"<s>", 3},
                            .eos = {"</s>", 4},
                            .dummy_prefix = 1,
                            .remove_extra = 1,
                            .escape = 1,
                            .least = FLT_MAX};
    struct str buffer = {0};
    t->algorithm = TOKENIZER_SENTENCEPIECE;
    t->bpe.rule = BPE_JOIN_STRINGS;
    t->bpe.characters = t->cut_at_spaces = true;
    t->bpe.unknown_id = TOKENIZER_NONE;
    memset(t->bpe.byte_ids, 0xff, sizeof(t->bpe.byte_ids));
    /* A piece takes 8 bytes of the file at least: two keys, two lengths, a character, a score. */
    int rc = bpe_vocab_reserve(&t->bpe.vocab, (uint32_t)(size / 12) + 16, size, e);
    if (rc == 0) rc = read_specs(&file, data, size, e);
    if (rc == 0) rc = check_specs(&file, e);
    if (rc == 0 && file.model_type == SPM_MODEL_UNIGRAM) t->bpe.rule = BPE_UNIGRAM;
    if (rc == 0) rc = read_pieces(t, &file, data, size, &buffer, e);
    if (rc == 0) rc = check_pieces(t, &file, e);
    if (rc == 0) rc = take_over(t, &file, e);
    str_fini(&buffer);
    return rc;
}
