/* compute_cuda_loss.cu: final logits and softmax cross entropy with the logits' cap; the definition:
 * compute/reference/. A block has a row, which it reads three times: for the largest logit, for the
 * sum of exponentials, and for the gradient. */
#include "compute/cuda/compute_cuda_device.cuh"

KERNEL(cuda_logits, cuda_logits_args)
{
    EACH(i, a.n)
    a.z[i] = capped(a.multiplier * a.z[i], a.cap);
}

enum { LOSS_WHOLE, LOSS_SUM, LOSS_GRADIENT }; /* enum compute_loss_step */

template <typename act_t> DEVICE void cuda_cross_entropy(const struct cuda_loss_args &a)
{
    int64_t r = blockIdx.x, V = a.V, target = (int64_t)a.targets[r] - a.first;
    const float *z = a.z + r * V;
    float largest = MINUS_HUGE, log_sum = 0, rest = 0;
    bool here = target >= 0 && target < V;
    if (a.step == LOSS_GRADIENT) {
        log_sum = a.lse[r];
    } else {
        LANES(i, V)
        largest = fmaxf(largest, capped(a.multiplier * z[i], a.cap));
        largest = block_max(largest);
        LANES(i, V)
        rest += expf(capped(a.multiplier * z[i], a.cap) - largest);
        rest = logf(block_sum(rest));
        log_sum = largest + rest;
        if (threadIdx.x == 0) {
            float y = here ? capped(a.multiplier * z[target], a.cap) : 0.0f;
            a.nll[r] = a.step == LOSS_WHOLE ? (largest - y) + rest : -y;
            if (a.step == LOSS_SUM) a.lse[r] = log_sum;
        }
    }
    if (a.step == LOSS_SUM || !a.d_logits) return;
    LANES(i, V)
    {
        float y = capped(a.multiplier * z[i], a.cap);
        float p = a.step == LOSS_GRADIENT ? expf(y - log_sum) : expf((y - largest) - rest);
        p -= here && i == target ? 1.0f : 0.0f;
        act_store((act_t *)a.d_logits + r * V + i,
                  p * a.d_scale * a.multiplier * cap_slope(y, a.cap));
    }
}
KERNEL_ACT(cuda_cross_entropy, cuda_loss_args)
