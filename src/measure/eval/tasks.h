/* tasks.h - tasks.jsonl: multiple-choice items, one JSON object a line: {"id", "task", "context", "choices": [..], "answer": index}.
 * Knows the file; knows no runtime. */
#ifndef HONE_MEASURE_EVAL_TASKS_H
#define HONE_MEASURE_EVAL_TASKS_H
#include "base/arena.h"
#include "base/json.h"

#define HONE_TASK_NAME 48     /* bytes of a task's name, with the NUL */
#define HONE_TASK_MAX_CHOICES 256

typedef struct hone_task_text { const char *ptr; size_t len; } hone_task_text;
typedef struct hone_task_item { /* strings may hold NUL: lengths count */
    size_t                line;  /* in the file, from 1 */
    size_t                task;  /* index into names */
    hone_task_text        context;
    const hone_task_text *choices; /* [n_choices], 2..HONE_TASK_MAX_CHOICES, none empty */
    size_t                n_choices, answer;
} hone_task_item;

typedef struct hone_tasks { /* all memory in the arena */
    const hone_task_item *items; size_t n_items; /* in file order, at least one */
    const char *const    *names; size_t n_names; /* in order of first appearance, at most max_names */
} hone_tasks;

/* what names the file in errors; HONE_EINPUT says "what: line N: ...".  Empty lines are skipped. */
hone_code hone_tasks_parse(hone_bytes text, const char *what, size_t max_names, hone_arena *a, hone_tasks *out, hone_err *err);
#endif
