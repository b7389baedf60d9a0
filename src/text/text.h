/* text.h: from raw text to token ids and back: corpora, tokenizers, datasets of token shards and
 * the loader that deals them out. Each part stands on those before it and knows nothing of models.
 *
 * Text is bytes, UTF-8 where it is valid; invalid bytes survive the way through a byte-level
 * tokenizer unchanged. */
#ifndef COLOSSUS_TEXT_H
#define COLOSSUS_TEXT_H

#include "base/base.h"

/* ------------------------------------------------------------------ corpora
 * A list of files read as a stream of documents in a fixed order, with bounded memory. */

enum corpus_format {
    CORPUS_AUTO,  /* by content and name, once gzip or zstd is unpacked: see corpus_format_find */
    CORPUS_TEXT,  /* the file is one document */
    CORPUS_LINES, /* every line is one document */
    CORPUS_JSONL, /* the string at `field` of every line's object */
    CORPUS_JSON,  /* of every object, over any number of lines, in an array or one behind another */
    CORPUS_FORTUNE /* documents between lines that are a lone '%' */
};

/* Why a record of JSON, or a file, is no document. */
enum corpus_bad {
    CORPUS_BAD_MISSING, /* no such field, or null there */
    CORPUS_BAD_TYPE,    /* the field is no string, the record no object */
    CORPUS_BAD_JSON,
    CORPUS_BAD_UTF8,
    CORPUS_BAD_SURROGATE, /* half of a pair, as an escape */
    CORPUS_BAD_NUMBER,    /* NaN, Infinity */
    CORPUS_BAD_TWICE,     /* the field is there twice */
    CORPUS_BAD_BOM,       /* a byte-order mark that does not begin the file */
    CORPUS_BAD_CUT,       /* the file ends inside */
    CORPUS_BAD_LONG,
    CORPUS_BAD_DEEP,
    CORPUS_BAD_FILE, /* a file of a folder, of a kind that is not read */
    CORPUS_BAD_KINDS
};
extern const char *const corpus_bad_names[CORPUS_BAD_KINDS]; /* "no such field" ... */

struct corpus_options {
    const char *const *paths; /* files or folders (their files, recursively, sorted by name, without
                                 what corpus_left_at lists); "-" is standard input */
    size_t n_paths;
    const char *const *not_read; /* files that are left out of folders: what is written, say */
    size_t n_not_read;
    enum corpus_format format; /* a given one is taken even where the content speaks against it */
    size_t piece_bytes;        /* a larger document comes in pieces, which bounds the memory; at
                                  least 16; 0: 16 MiB */
    const char *field; /* JSON; "text"; "user.name": name in user, or the key "user.name"; with
                          "user\\.name" only that key; NULL: "text" */
    uint64_t max_line_bytes; /* of a JSONL line or an object; 0: 64 MiB */
    bool skip_missing;       /* records without the field (or with null) are skipped and counted */
    bool skip_bad;           /* so is every bad record, and every file of a folder that is not read.
                           Otherwise the first is an error naming file, line and column */
    uint64_t bad_limit;      /* with skip_bad: one more is an error; 0: no limit */
    double bad_share; /* the same as a share of all records, once there are 10,000 or all have
                           been read; 0: no limit */
    bool objects;     /* JSON: a document is the whole object as it stands, `field` unused */
    bool quiet;       /* do not log what is left out or skipped */
};

struct corpus_document {
    const char *text; /* valid until the next call */
    size_t size;
    bool first, last; /* a document larger than a piece comes in several, cut at a line end where
                         there is one: first on its first piece, last on its last */
    const char *path; /* where it came from, for messages; lives as long as the corpus */
    uint64_t line;    /* of its first byte, from 1 */
};

/* One file of the corpus as corpus_open found it. */
struct corpus_file {
    const char *path;
    enum corpus_format format; /* CORPUS_AUTO: a pipe, of which nothing is read yet */
    uint64_t stored_bytes;     /* 0: unknown (standard input, a pipe) */
    bool pipe;                 /* or standard input: can be read only once */
    bool in_folder;            /* found there, not named itself */
};
/* What of a folder is no part of the corpus: hidden files, datasets, runs, checkpoints, models,
 * links to folders; with skip_bad files of kinds that are not read. */
struct corpus_left {
    const char *path, *why;
};

struct corpus; /* used by one thread at a time */
/* Finds the files and looks at the first bytes of each. Packed tables, archives, images and the
 * like are an error that says how to convert them. What *o points at is copied, or not needed
 * afterwards. */
int corpus_open(const struct corpus_options *o, struct corpus **out, struct error *e);
/* 1: *doc is the next piece; 0: the end; negative: an error that names file and line. */
int corpus_next(struct corpus *c, struct corpus_document *doc, struct error *e);
uint64_t corpus_bytes_total(const struct corpus *c); /* of the files as stored; 0: unknown */
uint64_t corpus_bytes_read(const struct corpus *c);
/* What was skipped so far: CORPUS_BAD_KINDS counts. */
const uint64_t *corpus_skipped(const struct corpus *c);
size_t corpus_file_count(const struct corpus *c);
const struct corpus_file *corpus_file_at(const struct corpus *c, size_t i);
size_t corpus_left_count(const struct corpus *c);
const struct corpus_left *corpus_left_at(const struct corpus *c, size_t i);
/* Whether text is nothing but white space: that is no document. */
bool corpus_is_blank(const char *text, size_t size);
/* "auto", "text", "lines", "jsonl", "json", "fortune", NULL: in the order of enum corpus_format. */
extern const char *const corpus_format_names[];
void corpus_close(struct corpus *c); /* accepts NULL */

/* ------------------------------------------------------------------ tokenizers
 * One opaque kind over several algorithms: byte-level BPE (tokenizer.json and ours), BPE over text,
 * unigram, WordPiece and words (tokenizer.json), tiktoken ranks, SentencePiece. Immutable after loading and shared by threads;
 * whoever encodes brings its own scratch. */

typedef struct tokenizer tokenizer_t;
typedef struct tokenizer_scratch tokenizer_scratch_t;

#define TOKENIZER_NONE UINT32_MAX /* "there is no such id" */

/* Loads by content, not by name: tokenizer.json (BPE, byte-level or not, Unigram, WordPiece,
 * WordLevel), Grok-2's tokenizer.tok.json, a tiktoken rank file ("base64 rank" lines), a
 * SentencePiece .model (BPE, unigram), or llama2.c's tok*.bin. What decides about ids and is not
 * supported is refused, never passed over. Errors name the file and the field. */
int tokenizer_load(const char *path, tokenizer_t **out, struct error *e);
int tokenizer_parse(const void *data, size_t size, const char *name, tokenizer_t **out,
                    struct error *e);
/* What a rank file does not say. The vocabularies of r50k_base, p50k_base, cl100k_base and
 * o200k_base are known; any other file needs the pattern. Files of other forms take neither. */
struct tokenizer_options {
    const char *pattern;         /* the name of a known one ("cl100k"), or a regular expression */
    const char *const *specials; /* "NAME=ID", or "@FILE" of such lines */
    size_t n_specials;
};
int tokenizer_load_with(const char *path, const struct tokenizer_options *o, tokenizer_t **out,
                        struct error *e);
int tokenizer_parse_with(const void *data, size_t size, const char *name,
                         const struct tokenizer_options *o, tokenizer_t **out, struct error *e);
/* A rank file with its pattern and special tokens as the text of a tokenizer.tok.json, which gives
 * the same ids and has the tokenizer's hash; lives as long as t. NULL for files of other forms. */
const char *tokenizer_converted(const tokenizer_t *t, size_t *size);
void tokenizer_free(tokenizer_t *t);

uint32_t tokenizer_vocab_size(const tokenizer_t *t); /* largest id + 1 */
/* What ends a document, or TOKENIZER_NONE: what the file marks, or its only token whose name says so,
 * until tokenizer_settle_eos has looked further. */
uint32_t tokenizer_eos(const tokenizer_t *t);
const char *tokenizer_eos_source(const tokenizer_t *t); /* what says so; NULL: nothing does */
uint32_t tokenizer_bos(const tokenizer_t *t);           /* beginning of a text, or TOKENIZER_NONE */
uint64_t tokenizer_hash(const tokenizer_t *t); /* XXH3 of its file, or of tokenizer_converted */
/* "byte-level bpe", "bpe", "unigram", "wordpiece", "wordlevel", "tiktoken" or "sentencepiece". */
const char *tokenizer_kind(const tokenizer_t *t);
/* Bytes of one id as decoding emits them (a control token gives size 0); NULL for a bad id. */
const char *tokenizer_piece(const tokenizer_t *t, uint32_t id, size_t *size);

/* A growing array of ids; {0} is empty. */
struct token_array {
    uint32_t *ids;
    size_t count, cap;
};
void token_array_fini(struct token_array *a);
void token_array_push(struct token_array *a, uint32_t id);

tokenizer_scratch_t *tokenizer_scratch_new(const tokenizer_t *t); /* one per thread */
void tokenizer_scratch_free(tokenizer_scratch_t *s);

enum tokenizer_flags {
    /* Control tokens written in the text become their ids. Without it they are ordinary text,
     * which is what untrusted text needs. (SentencePiece user-defined symbols always match, as in
     * the original; control pieces such as [PAD] never do.) */
    TOKENIZER_PARSE_SPECIAL = 1
};
/* Appends the ids of text[0..size) to *out. Linear in size, worst case n log n. Cannot fail but
 * for memory, which aborts. No BOS or EOS is added, whatever a tokenizer.json's post-processor
 * says. */
void tokenizer_encode(const tokenizer_t *t, tokenizer_scratch_t *s, const char *text, size_t size,
                      unsigned flags, struct token_array *out);
/* Appends the bytes of the ids; a SentencePiece dummy prefix is removed from the front.
 * Control tokens are skipped, or written as their text with TOKENIZER_PARSE_SPECIAL. */
int tokenizer_decode(const tokenizer_t *t, const uint32_t *ids, size_t count, unsigned flags,
                     struct str *out, struct error *e);

/* Training. Deterministic: ties between equally frequent pairs go to the smaller pair of ids, and
 * nothing depends on the number of threads. */
struct tokenizer_train_options {
    uint32_t vocab_size; /* of the result, bytes and special tokens included */
    /* The first is EOS. NULL: "<|eos|>", "<|pad|>", "<|separator|>". */
    const char *const *special_tokens;
    size_t n_special_tokens;
    const char *
        pattern; /* pre-tokenizer, as Oniguruma reads it; NULL: GPT-4/Grok-2 style, single digits */
    uint64_t max_bytes; /* of text that is counted; 0: all */
    struct pool *pool;
    bool show_progress;
};
/* Writes a Hugging Face tokenizer.json to path. */
int tokenizer_train(const struct corpus_options *corpus, const struct tokenizer_train_options *o,
                    const char *path, struct error *e);

/* ------------------------------------------------------------------ text and ids as streams
 * What `data encode` and `data decode` do between two descriptors. `name` is the input's, for
 * messages. Without lines the whole input is one text and must fit in memory (1 GiB at most). */

struct codec_options {
    bool lines;     /* every input line alone; one output line per input line */
    unsigned flags; /* enum tokenizer_flags */
    struct pool *pool;
};
/* Ids in decimal, joined by one space, as `spm_encode --output_format=id` prints them. */
int codec_encode_fd(const tokenizer_t *t, const struct codec_options *o, int in_fd, int out_fd,
                    const char *name, struct error *e);
/* Ids separated by white space back to bytes; errors name line and word. */
int codec_decode_fd(const tokenizer_t *t, const struct codec_options *o, int in_fd, int out_fd,
                    const char *name, struct error *e);

/* ------------------------------------------------------------------ token shards
 * A dataset folder: index.json and, for each split ("train", "valid"), shards <split>-00000.bin of
 * little-endian uint16 (vocabulary <= 65536) or uint32 ids; documents end with EOS. The layout is
 * specified at the head of text_shard.c. */

/* Settles what ends a document, by `wanted` (a special token or its id; NULL: nothing was asked), the
 * files beside the tokenizer's at `path`, its own marks and the names of its tokens: the head of
 * text_document_end.c. Two that contradict each other are an error, and so is none where one is
 * `needed`. Not while another thread uses t. */
int tokenizer_settle_eos(tokenizer_t *t, const char *path, const char *wanted, bool needed,
                         struct error *e);
/* The name of that token, "" where there is none. */
void tokenizer_show_eos(const tokenizer_t *t, struct str *out);

struct dataset_options {
    const char *out_dir;
    uint64_t shard_tokens; /* tokens per shard; 0: 100M */
    double valid_fraction; /* a document goes to "valid" by its hash, so the split is stable
                                under reordering and added files; 0: no validation split */
    bool drop_duplicates;  /* exact duplicates, by 64-bit hash */
    const char *command;   /* recorded in the index */
    struct pool *pool;
    bool show_progress;
    const char *tokenizer_path; /* the file t was loaded from, copied into the folder; NULL: no
                                   copy, and dataset_info has no path */
    bool force;                 /* replace a dataset that is there already */
};
struct dataset_split_report {
    uint64_t shards, tokens, documents, bytes; /* bytes of text */
};
struct dataset_report {
    uint64_t documents_read, documents_kept, duplicates_dropped, empty_dropped;
    uint64_t skipped[CORPUS_BAD_KINDS]; /* bad records, not among documents_read */
    uint64_t bytes_read, bytes_kept;
    struct dataset_split_report train, valid;
    uint64_t stored_bytes; /* of all shards */
    double seconds;
};
/* Fails, saying what to do, where dataset_build could not write to o->out_dir: it exists and is
 * not an empty folder (or, with o->force, a dataset), or the options are out of range. */
int dataset_check_output(const struct dataset_options *o, struct error *e);
/* Tokenizes a corpus into out_dir (which must not hold a dataset yet). The same input gives the
 * same files for any number of threads. Nothing appears at out_dir before all of it is there. A
 * document of nothing but white space counts as empty. */
int dataset_build(const struct corpus_options *corpus, const tokenizer_t *t,
                  const struct dataset_options *o, struct dataset_report *report, struct error *e);

/* Whether the folder holds a dataset's index, readable or not. */
bool dataset_exists(const char *dir);
/* Vocabulary of the dataset in the folder by its index alone, which nothing else is checked of; 0
 * where there is no dataset or its index cannot be read. */
uint32_t dataset_peek_vocab_size(const char *dir);
/* Whether the folder's index lists a split; fails where there is no readable index. */
int dataset_has_split(const char *dir, const char *split, bool *has, struct error *e);

typedef struct dataset dataset_t; /* immutable once open: any number of threads may read */
/* Opens one split of a dataset; checks sizes always and every shard's XXH3 when verify is set.
 * tokenizer_hash 0: any. */
int dataset_open(const char *dir, const char *split, uint64_t tokenizer_hash, bool verify,
                 dataset_t **out, struct error *e);
void dataset_close(dataset_t *d); /* accepts NULL */
/* What a split is, and the dataset it belongs to. */
struct dataset_info {
    uint64_t tokens, bytes; /* bytes of text, for bits per byte */
    size_t n_shards;
    uint32_t vocab_size, eos;
    uint64_t fingerprint; /* over shards' hashes and the tokenizer's */
    uint64_t tokenizer_hash;
    const char *tokenizer_path; /* of the copy inside the dataset folder; NULL: none was kept */
};
const struct dataset_info *dataset_info(const dataset_t *d); /* lives as long as the dataset */
/* tokens [first, first + count) of the split's one long stream into out. Fails, naming the shard,
 * where that was cut off or overwritten since it was opened, cannot be read, or has an id beyond
 * the vocabulary. */
int dataset_read(const dataset_t *d, uint64_t first, uint64_t count, uint32_t *out,
                 struct error *e);
/* Asks the kernel to bring these tokens into memory; never waits. */
void dataset_prefetch(const dataset_t *d, uint64_t first, uint64_t count);

struct dataset_shard_info {
    const char *file; /* name inside the folder; lives as long as the dataset */
    uint64_t tokens, documents, bytes, xxh3;
};
struct dataset_shard_info dataset_shard_at(const dataset_t *d, size_t i);
/* Tokens of the document that begins at token `first` (which must be one's beginning), its EOS
 * included; 0 at the end of the split; negative where reading fails. */
int64_t dataset_document_size(const dataset_t *d, uint64_t first, struct error *e);

struct dataset_token_count {
    uint32_t id;
    uint64_t count;
};
struct dataset_stats {
    uint64_t tokens, documents, bytes, distinct_ids;
    uint64_t min_document, median_document, p95_document, max_document; /* tokens without EOS */
    struct dataset_token_count *top; /* most frequent first, ties to the smaller id */
    size_t n_top;
};
/* One pass over the split. s->top has at most n_top entries, allocated in *a. */
int dataset_count(const dataset_t *d, size_t n_top, struct arena *a, struct dataset_stats *s,
                  struct error *e);

/* ------------------------------------------------------------------ loader
 * Cuts the stream into windows of T tokens (input [T], target shifted by one), visits them in an
 * order shuffled per epoch by rng_permute, and can say and restore exactly where it is. */

struct loader_cursor {      /* saved in checkpoints; a resumed loader gives the same next batch */
    uint64_t epoch, window; /* the next window of the epoch's order */
};
struct loader_options {
    uint32_t B, T; /* rows of this rank's batch, tokens in a row */
    uint64_t seed;
    bool shuffle;
    uint32_t rank, n_ranks; /* the global batch of B * n_ranks rows is dealt by rows */
};
typedef struct loader loader_t; /* used by one thread at a time */
/* The dataset must outlive the loader. Fails where the split has fewer than T + 1 tokens. */
int loader_open(const dataset_t *d, const struct loader_options *o, loader_t **out,
                struct error *e);
void loader_close(loader_t *l); /* accepts NULL */
struct loader_cursor loader_get_cursor(const loader_t *l);
int loader_set_cursor(loader_t *l, struct loader_cursor c, struct error *e);
/* doc_start [T]: for each position of a row where in it the EOS before its document is, or 0. */
void loader_find_documents(const uint32_t *row, uint32_t T, uint32_t eos, int32_t *doc_start);
/* inputs [B, T], targets [B, T], doc_start [B, T] (NULL: not wanted). Never allocates. Fails as
 * dataset_read does; the cursor then stays where it was. */
int loader_next(loader_t *l, uint32_t *inputs, uint32_t *targets, int32_t *doc_start,
                struct error *e);

#endif
