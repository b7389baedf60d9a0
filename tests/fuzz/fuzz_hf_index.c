/* fuzz_hf_index.c: any bytes as a model.safetensors.index.json. The files of an index that is accepted lie
 * in its folder, each named once. */
#include "model/model_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *o;
    struct arena a = {0};
    struct error e = {0};
    struct safetensors_files files = {0};
    struct safetensors_set none = {0};
    if (json_parse(size ? (const char *)data : "", size, "input", &o, &e) < 0) return 0;
    if (safetensors_index_files(o, "input", &a, &files, &e) < 0) {
        CHECK(e.text[0]);
    } else {
        CHECK(files.n > 0);
        for (size_t i = 0; i < files.n; i++) {
            const char *path = files.list[i].path;
            CHECK(path[0] && !strchr(path, '/') && strcmp(path, "..") != 0);
            CHECK(i == 0 || strcmp(files.list[i - 1].path, path) < 0);
        }
        CHECK(safetensors_index_check(o, "input", &none, &e) < 0); /* no file has its tensors */
    }
    json_decref(o);
    arena_fini(&a);
    return 0;
}
