/* model_balance.c: the selection bias that would have dealt rows to experts evenly.
 *
 * A token visits the k experts with the largest p + b, p the router's probability and b the
 * expert's selection bias. With the other biases as they are, expert e is chosen where p_e + b_e
 * exceeds what it has to beat: the k-th largest score of the row without its own. So it gets its
 * share, k of E, of the rows where -b_e is the quantile 1 - k/E of its margins
 *
 *     p_e - (k-th largest of p_j + b_j over j != e)
 *
 * This needs no step width: it says how far a bias is off, in the unit of the bias, whether routers
 * hardly tell experts apart, as at the beginning, or strongly. The biases are all computed from the
 * same scores, so moving each all the way can overshoot: the caller moves part of it. */
#include "model/model_internal.h"

#include <math.h>

/* The value that at others are at least as large as; v is reordered. */
static float select_largest(float *v, int64_t n, int64_t at)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        float a = v[low], b = v[low + (high - low) / 2], c = v[high];
        float pivot = fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] > pivot)
                i++;
            while (v[j] < pivot)
                j--;
            if (i > j) break;
            float x = v[i];
            v[i++] = v[j];
            v[j--] = x;
        }
        if (at <= j)
            high = j;
        else if (at >= i)
            low = i;
        else
            break;
    }
    return v[at];
}

/* The k-th and the next largest score of a row, k < E. */
static void row_thresholds(const struct model_balance *b, int64_t row, float *kth, float *next)
{
    const float *p = b->probs + row * b->E;
    int64_t n = 0;
    float top[COMPUTE_MAX_EXPERTS];
    for (int64_t e = 0; e < b->E; e++) {
        float score = p[e] + b->bias[e];
        if (n > b->k && !(score > top[b->k])) continue;
        int64_t at = n > b->k ? b->k : n++;
        for (; at > 0 && score > top[at - 1]; at--)
            top[at] = top[at - 1];
        top[at] = score;
    }
    *kth = top[b->k - 1];
    *next = top[b->k];
}

/* sum [E] gets one bias more. */
void model_balance_add(const struct model_balance *b, double *sum)
{
    float *kth = b->scratch, *next = kth + b->M, *margin = next + b->M;
    int64_t share = MAX(1, (b->M * b->k + b->E / 2) / b->E);
    if (b->k >= b->E) return; /* every token visits every expert */
    for (int64_t i = 0; i < b->M; i++)
        row_thresholds(b, i, &kth[i], &next[i]);
    for (int64_t e = 0; e < b->E; e++) {
        for (int64_t i = 0; i < b->M; i++) {
            float p = b->probs[i * b->E + e];
            margin[i] = p - (p + b->bias[e] >= kth[i] ? next[i] : kth[i]);
        }
        sum[e] -= (double)select_largest(margin, b->M, share - 1);
    }
}
