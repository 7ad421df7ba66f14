/* choices.c - multiple choice by likelihood: the context is evaluated once, each choice goes on from its cache. */
#include "measure/eval/parts.h"
#include "measure/logits.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static hone_code tokenise(const hone_child *c, hone_task_text text, hone_arena *a, int32_t **ids, size_t *n, hone_err *err)
{
    return hone_runner_tokenize(c->words, text.ptr, text.len, false, true, a, ids, n, err);
}

hone_code hone_eval_items(const hone_ctx *ctx, const hone_child *c, const hone_tasks *tasks, const char *what, uint32_t max_items, hone_arena *a,
                          hone_eval_item **out, size_t *n, size_t *longest, hone_err *err)
{
    hone_eval_item *items = HONE_ARENA_NEW(a, hone_eval_item, tasks->n_items);
    size_t         *taken = HONE_ARENA_NEW(a, size_t, tasks->n_names), count = 0, most = 0;
    if (!items || !taken) return HONE_NOMEM(err, "the tasks");
    for (size_t i = 0; i < tasks->n_items; i++) {
        const hone_task_item *t = &tasks->items[i];
        if (max_items && taken[t->task] == max_items) continue;
        if (hone_ctx_cancelled(ctx)) return HONE_INTERRUPTED(err);
        taken[t->task]++;
        int32_t *plain, **choices = HONE_ARENA_NEW(a, int32_t *, t->n_choices);
        size_t   n_plain, head = c->info.bos >= 0, *n_ids = HONE_ARENA_NEW(a, size_t, t->n_choices), widest = 0;
        if (!choices || !n_ids) return HONE_NOMEM(err, "the tasks");
        HONE_TRY(tokenise(c, t->context, a, &plain, &n_plain, err));
        int32_t *context = HONE_ARENA_NEW(a, int32_t, head + n_plain);
        if (!context) return HONE_NOMEM(err, "the tasks");
        if (head) context[0] = c->info.bos;
        memcpy(context + head, plain, n_plain * sizeof *plain);
        if (head + n_plain == 0)
            return HONE_FAIL(err, HONE_EINPUT, "give the item a context", "%s: line %zu: the context becomes no token, and the model has no BOS", what, t->line);
        for (size_t k = 0; k < t->n_choices; k++) {
            HONE_TRY(tokenise(c, t->choices[k], a, &choices[k], &n_ids[k], err));
            if (n_ids[k] == 0)
                return HONE_FAIL(err, HONE_EINPUT, "give each choice some text", "%s: line %zu: choice %zu becomes no token", what, t->line, k);
            if (n_ids[k] > widest) widest = n_ids[k];
        }
        items[count++] = (hone_eval_item){ context, head + n_plain, (const int32_t *const *)choices, n_ids, t->n_choices, t->task, t->answer };
        if (head + n_plain + widest > most) most = head + n_plain + widest;
    }
    *out = items;
    *n = count;
    *longest = most;
    return HONE_OK;
}

typedef struct scorer {
    const int32_t *ids;   /* of the choice: row i foretells ids[i + 1] */
    double         sum;   /* of ln p */
    float         *first; /* [width] the context's last row */
    hone_row       facts; /* of first */
    size_t         width;
    bool           bad;   /* another width, or not finite */
} scorer;

static void on_context(void *user, size_t index, const float *values, size_t n)
{
    scorer *s = user;
    (void)index;
    if ((s->bad = n != s->width)) return;
    memcpy(s->first, values, n * sizeof *values);
    s->facts = hone_row_scan(values, n);
    s->bad = !s->facts.finite;
}

static void on_choice(void *user, size_t index, const float *values, size_t n)
{
    scorer  *s = user;
    hone_row r = hone_row_scan(values, n);
    if (n != s->width || !r.finite) s->bad = true;
    else s->sum += (double)values[s->ids[index + 1]] - r.lse;
}

typedef struct prospect { size_t choice; double first; } prospect; /* ln p of its first token: its sum can only sink from there */

static int by_first(const void *a, const void *b)
{
    const prospect *x = a, *y = b;
    return x->first != y->first ? (x->first < y->first) - (x->first > y->first) : (x->choice > y->choice) - (x->choice < y->choice);
}

/* The index of the likeliest choice; the first of equals.  Choices are tried from the likeliest first token on, and those whose first token
 * alone is less likely than a whole choice already seen are not tried at all: the answer is the same. */
static hone_code answer(hone_child *c, const hone_eval_item *it, scorer *s, uint8_t *want, size_t *chosen, hone_err *err)
{
    prospect order[HONE_TASK_MAX_CHOICES];
    bool     dirty = false; /* the cache holds more than the context */
    double   best = -INFINITY;
    for (size_t i = 0; i < it->n_context; i++) want[i] = i + 1 == it->n_context;
    HONE_TRY(hone_runner_forward(c->runner, it->context, it->n_context, 0, want, on_context, s, NULL, err));
    *chosen = it->n_choices;
    for (size_t k = 0; k < it->n_choices && !s->bad; k++) order[k] = (prospect){ k, (double)s->first[it->choices[k][0]] - s->facts.lse };
    if (!s->bad) qsort(order, it->n_choices, sizeof order[0], by_first);
    for (size_t i = 0; i < it->n_choices && !s->bad; i++) {
        size_t k = order[i].choice;
        if (order[i].first < best) break;
        s->ids = it->choices[k];
        s->sum = order[i].first;
        if (it->n_ids[k] > 1) {
            if (dirty) HONE_TRY(hone_runner_rewind(c->runner, (uint32_t)it->n_context, err));
            HONE_TRY(hone_runner_forward(c->runner, s->ids, it->n_ids[k] - 1, (uint32_t)it->n_context, NULL, on_choice, s, NULL, err));
            dirty = true;
        }
        if (s->sum > best || (s->sum == best && k < *chosen)) {
            best = s->sum;
            *chosen = k;
        }
    }
    if (*chosen == it->n_choices) *chosen = 0; /* none has any probability */
    if (s->bad) return HONE_FAIL(err, HONE_ERUNTIME, "run `hone check` on the artefact", "the artefact gives logits that are NaN or infinite");
    return HONE_OK;
}

hone_code hone_eval_choices(const hone_ctx *ctx, hone_child *c, const hone_eval_item *items, size_t n, bool *correct, atomic_size_t *asked, size_t total,
                            hone_err *err)
{
    scorer    s = { .width = c->info.n_vocab };
    size_t    longest = 1;
    hone_code code = HONE_OK;
    for (size_t i = 0; i < n; i++)
        if (items[i].n_context > longest) longest = items[i].n_context;
    uint8_t *want = malloc(longest);
    s.first = malloc(s.width * sizeof *s.first);
    if (!want || !s.first) code = HONE_NOMEM(err, "the tasks");
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        size_t chosen = 0;
        code = hone_ctx_cancelled(ctx) ? HONE_INTERRUPTED(err) : answer(c, &items[i], &s, want, &chosen, err);
        if (code != HONE_OK) break;
        correct[i] = chosen == items[i].answer;
        hone_event_progress(ctx, "items", atomic_fetch_add(asked, 1) + 1, total);
    }
    free(want);
    free(s.first);
    return code;
}

/* Outcomes of each task as a string of 0 and 1, in file order. */
hone_code hone_eval_choices_sum(hone_eval_side *side, const hone_tasks *tasks, hone_err *err)
{
    hone_eval_result *res = side->res;
    size_t            asked[HONE_MAX_TASKS] = { 0 }, k = 0;
    double           *by_task = calloc(side->n_items + 1, sizeof *by_task);
    hone_code         code = by_task ? HONE_OK : HONE_NOMEM(err, "the tasks");
    for (size_t t = 0; code == HONE_OK && t < tasks->n_names; t++) {
        size_t right = 0;
        char  *s = HONE_ARENA_NEW(&side->a, char, side->n_items + 1);
        if (!s) {
            code = HONE_NOMEM(err, "the outcomes");
            break;
        }
        for (size_t i = 0; i < side->n_items; i++) {
            if (side->items[i].task != t) continue;
            by_task[k++] = side->correct[i];
            right += side->correct[i];
            s[asked[t]++] = side->correct[i] ? '1' : '0';
        }
        s[asked[t]] = '\0';
        (void)snprintf(res->tasks[t].name, sizeof res->tasks[t].name, "%s", tasks->names[t]);
        res->tasks[t].accuracy = hone_metric_share(right, asked[t]);
        res->tasks[t].outcomes = s;
    }
    if (code == HONE_OK) {
        res->n_tasks = tasks->n_names;
        res->accuracy = hone_metric_groups(by_task, asked, tasks->n_names, HONE_EVAL_SEED);
    }
    free(by_task);
    return code;
}
