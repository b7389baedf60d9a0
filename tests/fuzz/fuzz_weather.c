/* fuzz_weather.c: any bytes as hours of weather. What is accepted is finite and within its bounds, wet
 * bulb below dry bulb; what is refused says where and why. */
#include "site/site.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    struct arena a;
    struct site_weather w;
    arena_init(&a);
    if (site_parse_weather((const char *)data, size, "fuzz.csv", &a, &w, &e) >= 0) {
        CHECK(w.n >= 1);
        for (size_t i = 0; i < w.n; i++) {
            const struct site_hour *h = &w.hours[i];
            CHECK(isfinite(h->dry_c) && h->dry_c >= -70.0f && h->dry_c <= 60.0f);
            CHECK(isfinite(h->wet_c) && h->wet_c <= h->dry_c + 1e-3f && h->wet_c >= -140.0f);
            CHECK(h->month <= 12);
        }
    } else {
        CHECK(e.code == ERROR_CONFIG && e.text[0] && strstr(e.text, "fuzz.csv"));
    }
    arena_fini(&a);
    return 0;
}
