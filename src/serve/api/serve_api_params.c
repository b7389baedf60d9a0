/* serve_api_params.c: the fields of a request that say how to write: OpenAI's, and llama.cpp's where
 * OpenAI has none. A field of null is not given; one of another type or out of its range is an error
 * that names it. */
#include "serve/api/serve_api_internal.h"

#include <stdlib.h>
#include <string.h>

static const json_t *given(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

int api_read_bool(const json_t *o, const char *key, bool *out, struct api_error *x)
{
    const json_t *v = given(o, key);
    if (!v) return 0;
    if (!json_is_boolean(v)) return api_wrong(x, 400, key, "'%s' must be true or false", key);
    *out = json_is_true(v);
    return 0;
}

int api_read_int(const json_t *o, const char *key, int64_t least, int64_t most, int64_t *out,
                 struct api_error *x)
{
    const json_t *v = given(o, key);
    if (!v) return 0;
    if (!json_is_integer(v)) return api_wrong(x, 400, key, "'%s' must be a whole number", key);
    if (json_integer_value(v) < least || json_integer_value(v) > most)
        return api_wrong(x, 400, key, "'%s' is %lld, must be in %lld to %lld", key,
                         (long long)json_integer_value(v), (long long)least, (long long)most);
    *out = json_integer_value(v);
    return 0;
}

int api_read_real(const json_t *o, const char *key, double least, double most, double *out,
                  struct api_error *x)
{
    const json_t *v = given(o, key);
    if (!v) return 0;
    if (!json_is_number(v)) return api_wrong(x, 400, key, "'%s' must be a number", key);
    double value = json_number_value(v);
    if (!(value >= least && value <= most))
        return api_wrong(x, 400, key, "'%s' is %g, must be in %g to %g", key, value, least, most);
    *out = value;
    return 0;
}

int api_check_list(const json_t *o, const char *key, struct api_error *x)
{
    const json_t *v = given(o, key);
    return !v || json_is_array(v) ? 0 : api_wrong(x, 400, key, "'%s' must be a list", key);
}

static int add_stop(const json_t *v, struct arena *a, struct api_params *p, struct api_error *x)
{
    if (json_is_null(v)) return 0;
    if (!json_is_string(v))
        return api_wrong(x, 400, "stop", "'stop' must be a string or a list of strings");
    if (json_string_length(v) == 0) return 0;
    if (json_string_length(v) > 4096)
        return api_wrong(x, 400, "stop", "a stop string of more than 4096 bytes");
    if (strlen(json_string_value(v)) != json_string_length(v))
        return api_wrong(x, 400, "stop", "a stop string with a zero byte");
    if (p->n_stop == API_MAX_STOPS)
        return api_wrong(x, 400, "stop", "more than %d stop strings", API_MAX_STOPS);
    p->stop[p->n_stop++] = arena_strdup(a, json_string_value(v));
    return 0;
}

static int read_stop(const json_t *o, struct arena *a, struct api_params *p, struct api_error *x)
{
    const json_t *v = given(o, "stop");
    if (!v) return 0;
    if (!json_is_array(v)) return add_stop(v, a, p, x);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (add_stop(json_array_get(v, i), a, p, x) < 0) return -1;
    return 0;
}

static int read_bias(const struct serve_server *s, const json_t *o, struct arena *a,
                     struct api_params *p, struct api_error *x)
{
    json_t *v = (json_t *)(uintptr_t)given(o, "logit_bias"), *item;
    const char *key;
    if (!v) return 0;
    if (!json_is_object(v) || json_object_size(v) > 1024)
        return api_wrong(x, 400, "logit_bias",
                         "'logit_bias' must be an object of up to 1024 token ids and numbers");
    p->bias = arena_alloc(a, (json_object_size(v) + 1) * sizeof(*p->bias));
    json_object_foreach(v, key, item)
    {
        char *end;
        double add = json_number_value(item);
        unsigned long long id = strtoull(key, &end, 10);
        if (*end || end == key || key[0] == '-' || id >= (uint64_t)s->m->config.vocab_size)
            return api_wrong(x, 400, "logit_bias", "'%.40s' is no token id of this model", key);
        if (!json_is_number(item) || !(add >= -100 && add <= 100))
            return api_wrong(x, 400, "logit_bias", "a bias must be a number in -100 to 100");
        p->bias[p->n_bias++] =
            (struct engine_bias){(uint32_t)id, add <= -100 ? -INFINITY : (float)add};
    }
    return 0;
}

static int read_stream(const json_t *o, struct api_params *p, struct api_error *x)
{
    const json_t *options = given(o, "stream_options");
    if (api_read_bool(o, "stream", &p->stream, x) < 0) return -1;
    if (!options) return 0;
    if (!json_is_object(options))
        return api_wrong(x, 400, "stream_options", "'stream_options' must be an object");
    return api_read_bool(options, "include_usage", &p->include_usage, x);
}

int api_read_deadline(const struct serve_server *s, const json_t *o, double *out,
                      struct api_error *x)
{
    double timeout = INFINITY;
    if (api_read_real(o, "timeout", 0.001, 1e6, &timeout, x) < 0) return -1;
    if (s->o.timeout_s > 0) timeout = fmin(timeout, s->o.timeout_s);
    *out = isfinite(timeout) ? time_now_s() + timeout : 0;
    return 0;
}

int api_read_params(struct serve_server *s, const json_t *o, struct arena *a, struct api_params *p,
                    struct api_error *x)
{
    const int64_t most = INT32_MAX;
    *p = (struct api_params){
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_tokens = -1, .n = 1};
    const struct {
        const char *key;
        double least, most, *out;
    } reals[] = {{"temperature", 0, 100, &p->temperature},
                 {"top_p", 0, 1, &p->top_p},
                 {"min_p", 0, 1, &p->min_p},
                 {"presence_penalty", -2, 2, &p->presence_penalty},
                 {"frequency_penalty", -2, 2, &p->frequency_penalty},
                 {"repetition_penalty", 0.01, 100, &p->repetition_penalty},
                 {"repeat_penalty", 0.01, 100, &p->repetition_penalty}};
    for (size_t i = 0; i < ARRAY_LEN(reals); i++)
        if (api_read_real(o, reals[i].key, reals[i].least, reals[i].most, reals[i].out, x) < 0)
            return -1;
    p->seed = -1;
    if (api_read_int(o, "max_tokens", 0, most, &p->max_tokens, x) < 0 ||
        api_read_int(o, "max_completion_tokens", 0, most, &p->max_tokens, x) < 0 ||
        api_read_int(o, "n", 1, s->most_choices, &p->n, x) < 0 ||
        api_read_int(o, "top_k", 0, most, &p->top_k, x) < 0 ||
        api_read_int(o, "seed", INT64_MIN, INT64_MAX, &p->seed, x) < 0 ||
        api_read_bool(o, "ignore_eos", &p->ignore_eos, x) < 0)
        return -1;
    p->has_seed = given(o, "seed") != NULL;
    if (!p->has_seed) p->seed = (int64_t)rng_u64(s->salt, 1, (uint64_t)(time_now_s() * 1e9));
    if (api_read_deadline(s, o, &p->deadline_s, x) < 0) return -1;
    if (read_stream(o, p, x) < 0 || read_stop(o, a, p, x) < 0) return -1;
    return read_bias(s, o, a, p, x);
}

/* A name as it may stand in a header: other bytes as %XX. */
static void put_name(struct str *out, const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    for (size_t i = 0; name[i] && i < 64; i++) {
        if (strchr(plain, name[i]))
            str_append_char(out, name[i]);
        else
            str_printf(out, "%%%02X", (unsigned)(unsigned char)name[i]);
    }
}

void api_name_unknown(http_request_t *r, const json_t *o, const char *const *known)
{
    json_t *object = (json_t *)(uintptr_t)o, *item;
    struct str names = {0};
    const char *key;
    json_object_foreach(object, key, item)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (known[i]) continue;
        if (names.len) str_puts(&names, ", ");
        if (names.len > 512) {
            str_puts(&names, "..."); /* and more */
            break;
        }
        put_name(&names, key);
    }
    if (names.len) http_add_header(r, "X-Colossus-Ignored", names.data);
    str_fini(&names);
}

int api_check_model(const struct serve_server *s, const json_t *o, struct api_error *x)
{
    const json_t *v = given(o, "model");
    if (!v) return 0;
    if (!json_is_string(v)) return api_wrong(x, 400, "model", "'model' must be a string");
    if (strcmp(json_string_value(v), s->id) == 0) return 0;
    api_wrong(x, 404, "model", "there is no model '%.100s' here: this server has '%s'",
              json_string_value(v), s->id);
    x->code = "model_not_found";
    return -1;
}
