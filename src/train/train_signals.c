/* train_signals.c: signals that end a run in good order: SIGTERM, SIGHUP and SIGINT, of which a second
 * one kills at once. */
#include "train/train_internal.h"

volatile sig_atomic_t train_signal;

static void on_signal(int number)
{
    train_signal = number;
}

const char *train_signal_name(int number)
{
    if (number == TRAIN_SIGNAL_LAUNCHER) return "the launcher";
    return number == SIGINT ? "SIGINT" : number == SIGHUP ? "SIGHUP" : "SIGTERM";
}

void train_signals_install(struct train_handlers *old)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    train_signal = 0;
    sigaction(SIGTERM, &a, &old->term);
    sigaction(SIGHUP, NULL, &old->hangup);
    if (old->hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &a, NULL); /* nohup's wish stands */
    a.sa_flags |= (int)SA_RESETHAND;
    sigaction(SIGINT, &a, &old->interrupt);
}

void train_signals_restore(const struct train_handlers *old)
{
    sigaction(SIGTERM, &old->term, NULL);
    sigaction(SIGHUP, &old->hangup, NULL);
    sigaction(SIGINT, &old->interrupt, NULL);
}
