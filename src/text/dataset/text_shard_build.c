/* text_shard_build.c: tokenizes a corpus into a dataset folder.
 *
 * A pipeline of three stages over batches of documents: while batch n is tokenized in chunks by
 * every thread, one task reads batch n + 1 and one writes the ids of batch n - 1. Reading and
 * writing are each one task, so documents are read, judged and written strictly in the corpus's
 * order, and no file depends on the number of threads; the tokenizer, which is nearly all of the
 * work, takes all of them.
 *
 * Memory: three batches of max(8 MiB, 2 MiB per thread) of text plus at most one piece of 16 MiB,
 * and their ids (about as large again); the table of hashes (text_shard_set.c) grows with the
 * number of documents kept.
 *
 * A document is judged when its last byte has been read, by the XXH3-64 of its whole text:
 *   - nothing but white space: dropped as empty;
 *   - its hash was seen before: dropped as a duplicate (drop_duplicates);
 *   - hash / 2^64 below valid_fraction: to the split "valid", otherwise to "train".
 * So its split depends on its text alone, whatever stands before it. A document of more than 16 MiB
 * is judged like any other; its ids wait in a file meanwhile (text_shard_spool.c). Its pieces are
 * tokenized one by one, so no token crosses a cut (behind a line end, every 16 MiB). */
#include "text/dataset/text_dataset_internal.h"
#include "text/tokenizer/text_tokenizer_internal.h"

enum {
    BUILD_SHARD_TOKENS = 100000000,
    BUILD_BATCH = 8 << 20, /* bytes of text */
    BUILD_BATCH_THREAD = 2 << 20,
    BUILD_BATCH_MOST = 256 << 20,
    BUILD_CHUNK = 128 << 10, /* bytes of text in a tokenizer task */
    BUILD_KEEP_IDS = 1 << 20 /* a larger array of ids is given back after use */
};

enum build_fate { FATE_TRAIN, FATE_VALID, FATE_DROP }; /* the first two are split numbers */

struct build_piece {
    size_t offset, size;     /* in the batch's text */
    size_t tokens;           /* set by the tokenizer, EOS included */
    uint64_t document_bytes; /* last piece: of the whole document */
    bool first, last;
    enum build_fate fate; /* last piece */
};

struct build_chunk {
    size_t first, count; /* pieces */
    struct token_array ids;
};

struct build_batch {
    struct str text;
    struct build_piece *pieces;
    size_t n_pieces, cap_pieces;
    struct build_chunk *chunks; /* all cap_chunks keep their ids' memory from batch to batch */
    size_t n_chunks, cap_chunks;
};

struct build {
    const struct dataset_options *o;
    const tokenizer_t *tokenizer;
    tokenizer_scratch_t **scratch; /* one per thread */
    int n_threads;
    uint32_t eos;
    struct arena arena;
    struct shard_output output;
    struct dataset_report *report;

    /* reading */
    struct corpus *corpus;
    size_t batch_bytes, piece_bytes; /* the corpus hands out no more than a piece at once */
    bool at_end;
    struct shard_set seen;
    struct hash_stream *hash; /* of a document in pieces */
    uint64_t document_bytes;

    /* writing */
    struct shard_writer writers[SHARD_N_SPLITS];
    struct shard_spool spool;

    /* the round that is running */
    struct build_batch *reading, *tokenizing, *writing;
    int read_rc, write_rc;
    struct error read_error, write_error;
};

/* ------------------------------------------------------------------ reading */

/* Decides and counts; only the reading task calls it, in the corpus's order, so which of two equal
 * documents is kept does not depend on threads. */
static int judge(struct build *b, uint64_t hash, uint64_t bytes, enum build_fate *fate,
                 struct error *e)
{
    if (b->o->drop_duplicates) {
        int added = shard_set_add(&b->seen, hash, e);
        if (added < 0) return added;
        if (!added) {
            b->report->duplicates_dropped++;
            *fate = FATE_DROP;
            return 0;
        }
    }
    b->report->documents_kept++;
    b->report->bytes_kept += bytes;
    *fate = (double)(hash >> 11) * 0x1p-53 < b->o->valid_fraction ? FATE_VALID : FATE_TRAIN;
    return 0;
}

/* Copies the piece's text behind the batch's; the corpus's own is gone with its next call. */
static void batch_add(struct build_batch *batch, const char *text, struct build_piece piece)
{
    ARRAY_RESERVE(batch->pieces, batch->cap_pieces, batch->n_pieces + 1);
    piece.offset = batch->text.len;
    str_append(&batch->text, text, piece.size);
    batch->pieces[batch->n_pieces++] = piece;
}

/* A document in one piece is judged before its text is copied: what is dropped costs nothing
 * more. */
static int take_whole(struct build *b, struct build_batch *batch, const struct corpus_document *doc,
                      struct error *e)
{
    struct build_piece piece = {
        .size = doc->size, .document_bytes = doc->size, .first = true, .last = true};

    /* Such a document would be an EOS alone, which teaches nothing. */
    if (corpus_is_blank(doc->text, doc->size)) {
        b->report->empty_dropped++;
        return 0;
    }
    TRY(judge(b, hash_xxh3(doc->text, doc->size), doc->size, &piece.fate, e));
    if (piece.fate != FATE_DROP) batch_add(batch, doc->text, piece);
    return 0;
}

/* A piece of a larger document: its text goes on to the tokenizer before it is judged. */
static int take_piece(struct build *b, struct build_batch *batch, const struct corpus_document *doc,
                      struct error *e)
{
    struct build_piece piece = {.size = doc->size, .first = doc->first, .last = doc->last};

    if (doc->first) {
        b->hash = hash_stream_new();
        b->document_bytes = 0;
    }
    hash_stream_add(b->hash, doc->text, doc->size);
    b->document_bytes += doc->size;
    if (doc->last) {
        uint64_t hash = hash_stream_value(b->hash);
        hash_stream_free(b->hash);
        b->hash = NULL;
        piece.document_bytes = b->document_bytes;
        TRY(judge(b, hash, b->document_bytes, &piece.fate, e));
    }
    batch_add(batch, doc->text, piece);
    return 0;
}

/* Groups the pieces into tasks for the tokenizer. */
static void batch_cut(struct build_batch *batch)
{
    batch->n_chunks = 0;
    for (size_t i = 0; i < batch->n_pieces;) {
        size_t first = i, bytes = 0;
        while (i < batch->n_pieces && bytes < BUILD_CHUNK)
            bytes += batch->pieces[i++].size;
        ARRAY_RESERVE_ZEROED(batch->chunks, batch->cap_chunks, batch->n_chunks + 1);
        struct build_chunk *chunk = &batch->chunks[batch->n_chunks++];
        chunk->first = first;
        chunk->count = i - first;
    }
}

/* Room for the whole batch is taken at once, because growing it would copy megabytes. */
static int read_batch(struct build *b, struct build_batch *batch, struct error *e)
{
    struct corpus_document doc;

    str_clear(&batch->text);
    str_reserve(&batch->text, b->batch_bytes + b->piece_bytes + 1);
    batch->n_pieces = 0;
    while (!b->at_end && batch->text.len < b->batch_bytes) {
        int rc = corpus_next(b->corpus, &doc, e);
        if (rc < 0) return rc;
        if (rc == 0) {
            b->at_end = true;
            break;
        }
        b->report->documents_read += doc.first;
        b->report->bytes_read += doc.size;
        TRY(doc.first && doc.last ? take_whole(b, batch, &doc, e) : take_piece(b, batch, &doc, e));
    }
    batch_cut(batch);
    return 0;
}

/* ------------------------------------------------------------------ tokenizing and writing */

/* Touches only its chunk, the pieces of it, and the thread's own scratch. */
static void tokenize_chunk(struct build *b, struct build_batch *batch, size_t number, int thread)
{
    struct build_chunk *chunk = &batch->chunks[number];

    chunk->ids.count = 0;
    for (size_t i = chunk->first; i < chunk->first + chunk->count; i++) {
        struct build_piece *piece = &batch->pieces[i];
        size_t before = chunk->ids.count;
        tokenizer_encode(b->tokenizer, b->scratch[thread], batch->text.data + piece->offset,
                         piece->size, 0, &chunk->ids);
        if (piece->last) token_array_push(&chunk->ids, b->eos);
        piece->tokens = chunk->ids.count - before;
    }
}

/* A piece of a larger document goes to the spool; the last one knows what becomes of them all. */
static int write_piece(struct build *b, const struct build_piece *piece, const uint32_t *ids,
                       struct error *e)
{
    struct shard_writer *w = piece->fate == FATE_DROP ? NULL : &b->writers[piece->fate];

    if (piece->first && piece->last) {
        TRY(shard_writer_add(w, ids, piece->tokens, e));
    } else {
        TRY(shard_spool_add(&b->spool, ids, piece->tokens, e));
        if (!piece->last) return 0;
        TRY(shard_spool_flush(&b->spool, w, e));
    }
    if (w) shard_writer_end_document(w, piece->document_bytes);
    return 0;
}

/* Pieces in the corpus's order, whatever the order in which their chunks were tokenized. */
static int write_batch(struct build *b, struct build_batch *batch, struct error *e)
{
    for (size_t c = 0; c < batch->n_chunks; c++) {
        struct build_chunk *chunk = &batch->chunks[c];
        const uint32_t *ids = chunk->ids.ids;
        for (size_t i = chunk->first; i < chunk->first + chunk->count; i++) {
            TRY(write_piece(b, &batch->pieces[i], ids, e));
            ids += batch->pieces[i].tokens;
        }
        if (chunk->ids.cap > BUILD_KEEP_IDS) token_array_fini(&chunk->ids);
    }
    batch->n_chunks = batch->n_pieces = 0;
    return 0;
}

static void batch_fini(struct build_batch *batch)
{
    for (size_t i = 0; i < batch->cap_chunks; i++)
        token_array_fini(&batch->chunks[i].ids);
    mem_free(batch->chunks);
    mem_free(batch->pieces);
    str_fini(&batch->text);
}

/* ------------------------------------------------------------------ the pipeline */

/* Tasks of a round: writing and reading first, since they are the longest single ones. */
static void round_task(void *ctx, size_t task, int thread)
{
    struct build *b = ctx;
    if (task == 0)
        b->write_rc = write_batch(b, b->writing, &b->write_error);
    else if (task == 1)
        b->read_rc = read_batch(b, b->reading, &b->read_error);
    else
        tokenize_chunk(b, b->tokenizing, task - 2, thread);
}

/* Three batches go round until the last one is written. */
static int run_rounds(struct build *b, struct build_batch batches[3], struct error *e)
{
    struct progress progress;
    int rc = 0;

    progress_init(&progress, "tokenize", "B", (double)corpus_bytes_total(b->corpus));
    b->writing = &batches[0];
    b->tokenizing = &batches[1];
    b->reading = &batches[2];
    while (rc >= 0 && (!b->at_end || b->tokenizing->n_pieces > 0 || b->writing->n_pieces > 0)) {
        pool_run(b->o->pool, 2 + b->tokenizing->n_chunks, round_task, b);
        rc = b->write_rc < 0 ? b->write_rc : b->read_rc;
        if (rc < 0 && e) *e = b->write_rc < 0 ? b->write_error : b->read_error;
        struct build_batch *written = b->writing;
        b->writing = b->tokenizing;
        b->tokenizing = b->reading;
        b->reading = written;
        if (b->o->show_progress) progress_update(&progress, (double)corpus_bytes_read(b->corpus));
    }
    if (b->o->show_progress) progress_fini(&progress, (double)corpus_bytes_read(b->corpus));
    return rc;
}

/* ------------------------------------------------------------------ beginning and end */

/* Checks that cost nothing come first, so that a mistake shows before hours of work. */
static int build_begin(struct build *b, const struct corpus_options *corpus, struct error *e)
{
    const struct shard_header template = {.token_bytes =
                                              tokenizer_vocab_size(b->tokenizer) <= 65536 ? 2 : 4,
                                          .vocab_size = tokenizer_vocab_size(b->tokenizer),
                                          .eos = b->eos,
                                          .tokenizer_hash = tokenizer_hash(b->tokenizer)};

    if (b->eos == TOKENIZER_NONE) {
        error_set(e, "the tokenizer has no token that ends a document");
        return error_hint(e, "settle it first, by --eos");
    }
    TRY(dataset_check_output(b->o, e));
    b->piece_bytes = corpus->piece_bytes ? corpus->piece_bytes : CORPUS_PIECE_BYTES;
    TRY(corpus_open(corpus, &b->corpus, e));
    TRY(shard_output_begin(&b->output, b->o->out_dir, b->o->force, &b->arena, e));
    for (int s = 0; s < SHARD_N_SPLITS; s++)
        shard_writer_init(&b->writers[s], b->output.work_dir, shard_split_names[s], &template,
                          b->o->shard_tokens ? b->o->shard_tokens : BUILD_SHARD_TOKENS, &b->arena);
    shard_spool_init(&b->spool, b->output.work_dir, &b->arena);
    b->n_threads = pool_threads(b->o->pool);
    b->batch_bytes = MIN(MAX((size_t)BUILD_BATCH, (size_t)b->n_threads * BUILD_BATCH_THREAD),
                         (size_t)BUILD_BATCH_MOST);
    b->scratch = mem_calloc((size_t)b->n_threads, sizeof(*b->scratch));
    for (int i = 0; i < b->n_threads; i++)
        b->scratch[i] = tokenizer_scratch_new(b->tokenizer);
    return 0;
}

/* "tokenizer.json": the name keeps what the original's says about its form. Of a rank file what it
 * was converted to is kept, which holds the pattern and special tokens too. */
static int copy_tokenizer(struct build *b, const char **name, struct error *e)
{
    const char *from = b->o->tokenizer_path, *dot = strrchr(file_base_name(from), '.');
    char *data;
    size_t size;

    const char *converted = tokenizer_converted(b->tokenizer, &size);
    if (converted) {
        *name = "tokenizer.tok.json";
        return file_write(file_join(&b->arena, b->output.work_dir, *name), converted, size, e);
    }
    *name = arena_printf(&b->arena, "tokenizer%s", dot ? dot : "");
    if (!shard_file_name_is_plain(*name)) *name = "tokenizer";
    TRY(file_read(from, TOKENIZER_MAX_FILE, &data, &size, e));
    int rc = 0;
    if (hash_xxh3(data, size) != tokenizer_hash(b->tokenizer)) {
        rc = error_set(e, "tokenizer '%s' was changed while it was in use", from);
        error_hint(e, "run this again");
    }
    if (rc >= 0) rc = file_write(file_join(&b->arena, b->output.work_dir, *name), data, size, e);
    mem_free(data);
    return rc;
}

/* A dataset that no run can train on is an error now, not when the run starts. */
static int check_splits(const struct build *b, struct error *e)
{
    const struct dataset_report *r = b->report;

    if (r->documents_kept == 0) {
        uint64_t skipped = 0;
        for (int i = 0; i < CORPUS_BAD_KINDS; i++)
            skipped += r->skipped[i];
        error_set(e, "no document is left: %llu read, %llu of them empty, %llu bad records skipped",
                  (unsigned long long)r->documents_read, (unsigned long long)r->empty_dropped,
                  (unsigned long long)skipped);
        return error_hint(e, "look at --format and --field");
    }
    if (b->writers[FATE_TRAIN].n_done == 0) {
        error_set(e,
                  "no document fell into the training split: %llu document(s), all in the "
                  "validation split",
                  (unsigned long long)r->documents_kept);
        return error_hint(e, "whole documents are split; --format lines makes every line one");
    }
    if (b->o->valid_fraction > 0 && b->writers[FATE_VALID].n_done == 0)
        log_warn("no document fell into the validation split: %llu document(s), a share of %g; "
                 "take a larger share, or more and smaller documents (--format lines)",
                 (unsigned long long)r->documents_kept, b->o->valid_fraction);
    return 0;
}

/* Adds up the shards of a split; *stored grows by the bytes of their files. */
static struct dataset_split_report sum_split(const struct shard_writer *w, uint64_t *stored)
{
    struct dataset_split_report sum = {.shards = w->n_done};
    for (size_t i = 0; i < w->n_done; i++) {
        sum.tokens += w->done[i].tokens;
        sum.documents += w->done[i].documents;
        sum.bytes += w->done[i].bytes;
    }
    *stored += sum.shards * SHARD_HEADER_BYTES + sum.tokens * w->header.token_bytes;
    return sum;
}

/* Closes the shards, and writes the index last: without it the folder is no dataset. */
static int build_end(struct build *b, struct error *e)
{
    const struct shard_header *h = &b->writers[0].header;
    struct shard_index index = {.token_bytes = h->token_bytes,
                                .vocab_size = h->vocab_size,
                                .eos = h->eos,
                                .tokenizer_hash = h->tokenizer_hash,
                                .tokenizer_kind = tokenizer_kind(b->tokenizer),
                                .command = b->o->command,
                                .report = b->report,
                                .valid_fraction = b->o->valid_fraction,
                                .drop_duplicates = b->o->drop_duplicates};
    struct dataset_report *r = b->report;

    for (int s = 0; s < SHARD_N_SPLITS; s++) {
        TRY(shard_writer_finish(&b->writers[s], e));
        index.shards[s] = b->writers[s].done;
        index.n_shards[s] = b->writers[s].n_done;
    }
    memcpy(r->skipped, corpus_skipped(b->corpus), sizeof(r->skipped));
    TRY(check_splits(b, e));
    r->train = sum_split(&b->writers[FATE_TRAIN], &r->stored_bytes);
    r->valid = sum_split(&b->writers[FATE_VALID], &r->stored_bytes);
    /* What was judged has been written, nothing more and nothing less. */
    CHECK(r->train.documents + r->valid.documents == r->documents_kept);
    CHECK(r->train.bytes + r->valid.bytes == r->bytes_kept);
    shard_spool_fini(&b->spool);
    if (b->o->tokenizer_path) TRY(copy_tokenizer(b, &index.tokenizer_file, e));
    index.fingerprint = shard_index_fingerprint(&index);
    TRY(shard_index_save(&index, b->output.work_dir, e));
    struct shard_index back; /* what was written can be read */
    TRY(shard_index_load(b->output.work_dir, &b->arena, &back, e));
    CHECK(back.fingerprint == index.fingerprint);
    return shard_output_commit(&b->output, e);
}

/* Also after a failure at any point: what was never begun is zero or -1. */
static void build_fini(struct build *b)
{
    for (int s = 0; s < SHARD_N_SPLITS; s++)
        shard_writer_fini(&b->writers[s]);
    shard_spool_fini(&b->spool);
    shard_set_fini(&b->seen);
    hash_stream_free(b->hash);
    for (int i = 0; b->scratch && i < b->n_threads; i++)
        tokenizer_scratch_free(b->scratch[i]);
    mem_free(b->scratch);
    corpus_close(b->corpus);
    shard_output_abort(&b->output);
    arena_fini(&b->arena);
}

int dataset_build(const struct corpus_options *corpus, const tokenizer_t *t,
                  const struct dataset_options *o, struct dataset_report *report, struct error *e)
{
    struct build b = {.o = o,
                      .tokenizer = t,
                      .eos = tokenizer_eos(t),
                      .output.lock_fd = -1,
                      .writers = {{.fd = -1}, {.fd = -1}},
                      .spool.fd = -1,
                      .report = report};
    struct build_batch batches[3] = {0};
    double start_s = time_now_s();

    *report = (struct dataset_report){0};
    int rc = build_begin(&b, corpus, e);
    if (rc >= 0) rc = run_rounds(&b, batches, e);
    if (rc >= 0) rc = build_end(&b, e);
    for (int i = 0; i < 3; i++)
        batch_fini(&batches[i]);
    build_fini(&b);
    report->seconds = time_now_s() - start_s;
    return rc;
}
