/* A runtime that crashes, hangs, lies or eats is one failed request with its reason, and hone goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "runner/runner.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static hone_ctx ctx;
static char     plugins[4096];

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static hone_runner *start(hone_runner_options opt)
{
    hone_runner *r = NULL;
    hone_err     err = { 0 };
    opt.plugin_dir = plugins;
    if (!opt.backend) opt.backend = "bad";
    if (hone_runner_start(&ctx, &opt, &r, &err) != HONE_OK) fail_msg("%s", err.cause);
    return r;
}

static hone_code open_bad(hone_runner *r, const char *path, hone_err *err)
{
    return hone_runner_open(r, &(hone_backend_open){ .path = path, .device = "cpu" }, NULL, NULL, err);
}

static hone_code forward(hone_runner *r, hone_err *err)
{
    const int32_t ids[] = { 1, 2, 3 };
    return hone_runner_forward(r, ids, 3, 0, NULL, NULL, NULL, NULL, err);
}

/* Opens "<op>:<deed>", evaluates if that went well, and wants this end. */
static void expect(hone_runner_options opt, const char *deed, hone_code code, const char *cause)
{
    hone_err     err = { 0 };
    hone_runner *r = start(opt);
    hone_code    got = open_bad(r, deed, &err);
    if (got == HONE_OK) got = forward(r, &err);
    if (got != code) fail_msg("%s: code %d, expected %d (%s)", deed, (int)got, (int)code, err.cause);
    assert_string_equal(err.cause, cause);
    hone_runner_stop(r);
}

static void a_crash_names_the_signal_the_request_and_the_last_words(void **state)
{
    (void)state;
    hone_runner_options o = { 0 };
    expect(o, "forward:abort", HONE_ERUNTIME,
           "runtime 'bad' was killed by signal 6 (SIGABRT) during forward; runtime said: bad.c:1: ASSERT(weather == good) failed");
    expect(o, "open:segv", HONE_ERUNTIME, "runtime 'bad' was killed by signal 11 (SIGSEGV) during open");
    expect(o, "open:ill", HONE_ERUNTIME, "runtime 'bad' was killed by signal 4 (SIGILL) during open");
    expect(o, "open:kill", HONE_ERUNTIME, "runtime 'bad' was killed by signal 9 (SIGKILL) during open");
    expect(o, "forward:exit", HONE_ERUNTIME, "runtime 'bad' exited with status 0 during forward");
}

static void a_hang_is_stopped_after_the_timeout(void **state)
{
    (void)state;
    double from = now_s();
    expect((hone_runner_options){ .timeout_s = 0.5 }, "forward:hang", HONE_ERUNTIME,
           "runtime 'bad' gave no answer for 0.5 s during forward and was stopped; runtime said: waiting for Godot");
    expect((hone_runner_options){ .timeout_s = 0.5 }, "forward:spin", HONE_ERUNTIME,
           "runtime 'bad' gave no answer for 0.5 s during forward and was stopped");
    assert_true(now_s() - from < 30);
}

static void a_hung_up_socket_is_the_end_of_the_process(void **state)
{
    (void)state;
    hone_err     err = { 0 };
    hone_runner *r = start((hone_runner_options){ 0 });
    assert_int_equal(open_bad(r, "forward:hangup", &err), HONE_OK);
    assert_int_equal(forward(r, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, "runtime 'bad' exited with status 0 during forward");
    assert_int_equal(hone_runner_pid(r), 0);
    hone_runner_stop(r);
}

static void a_glutton_is_stopped_at_its_limit(void **state)
{
    (void)state;
    hone_err          err = { 0 };
    hone_runner_usage u = { 0 };
    hone_runner      *r = start((hone_runner_options){ .max_rss_bytes = 300u << 20 });
    assert_int_equal(open_bad(r, "forward:eat", &err), HONE_OK);
    assert_int_equal(forward(r, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "runtime 'bad' used "));
    assert_non_null(strstr(err.cause, "of memory during forward, the limit is 315 MB"));
    assert_int_equal(hone_runner_usage_get(r, &u, &err), HONE_OK); /* what was last seen stays known */
    assert_true(u.peak_rss_bytes > 300u << 20);
    hone_runner_stop(r);
}

static void what_breaks_the_protocol_is_stopped(void **state)
{
    (void)state;
    hone_runner_options o = { 0 };
    expect(o, "forward:garbage", HONE_ERUNTIME, "a frame of 542393671 bytes, at most 67108864 are allowed"); /* "GET " */
    expect(o, "forward:wide", HONE_ERUNTIME, "the runtime's process does not keep the protocol: a row of 17 values, not 16");
    expect(o, "forward:backwards", HONE_ERUNTIME, "the runtime's process does not keep the protocol: a row out of order");
}

static void a_failure_is_told_with_what_was_printed_made_safe(void **state)
{
    (void)state;
    hone_runner_options o = { 0 };
    expect(o, "forward:fail", HONE_ERUNTIME, "it went wrong; runtime said: the \\x1b[31mreal\\x1b[0m reason");
    expect(o, "forward:silent", HONE_EUNSUPPORTED, "the plug-in gives no reason");
}

static void a_failed_request_leaves_the_child_usable(void **state)
{
    (void)state;
    hone_err     err = { 0 };
    hone_arena   a = { 0 };
    hone_runner *r = start((hone_runner_options){ 0 });
    int32_t     *ids = NULL;
    char        *text = NULL;
    size_t       n = 0;
    assert_int_equal(hone_runner_tokenize(r, "ab", 2, true, true, &a, &ids, &n, &err), HONE_EBUG);
    assert_string_equal(err.cause, "no model is open");
    assert_int_equal(open_bad(r, "open:fail", &err), HONE_ERUNTIME);
    assert_int_equal(open_bad(r, "fine", &err), HONE_OK);
    assert_int_equal(hone_runner_tokenize(r, "abcdefgh", 8, true, true, &a, &ids, &n, &err), HONE_OK);
    assert_int_equal(n, 24);
    assert_int_equal(ids[23], 'h' % 16);
    assert_int_equal(hone_runner_detokenize(r, ids, n, true, true, &a, &text, &n, &err), HONE_OK);
    assert_int_equal(n, 2400);
    assert_int_equal(text[2399], 'x');
    assert_int_equal(text[2400], 0);
    assert_int_equal(hone_runner_render(r, "[]", NULL, &a, &text, &n, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "this runtime renders no chat templates");
    assert_int_equal(hone_runner_capture(r, ids, 3, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "this runtime shows no activations");
    assert_int_equal(hone_runner_inputs(r, ids, 3, (const char *const[]){ "a.weight", "b.weight" }, 2, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "this runtime does not show the inputs of weight matrices");
    assert_int_equal(hone_runner_forward(r, (const int32_t[]){ 1, 16 }, 2, 0, NULL, NULL, NULL, NULL, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "token id 16 at 1 is outside the vocabulary of 16");
    assert_int_equal(hone_runner_forward(r, ids, 0, 0, NULL, NULL, NULL, NULL, &err), HONE_EBUG);
    assert_int_equal(forward(r, &err), HONE_OK);
    hone_runner_stop(r);
    hone_arena_release(&a);
}

static void logits_that_are_no_numbers_stop_generation(void **state)
{
    (void)state;
    hone_err      err = { 0 };
    int32_t       out[4];
    hone_generate g = { .prompt = (const int32_t[]){ 1, 2 }, .n_prompt = 2, .max_new = 4, .out = out };
    hone_runner  *r = start((hone_runner_options){ 0 });
    assert_int_equal(open_bad(r, "forward:nan", &err), HONE_OK);
    assert_int_equal(hone_runner_generate(r, &g, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, "a logit after 2 tokens is not a number");
    assert_int_equal(g.n_out, 0);
    hone_runner_stop(r);
}

static void after_a_death_every_request_repeats_the_reason(void **state)
{
    (void)state;
    hone_err          err = { 0 }, again = { 0 };
    hone_runner_usage u = { .cpu_user_s = -1 };
    hone_runner      *r = start((hone_runner_options){ 0 });
    assert_int_equal(open_bad(r, "open:abort", &err), HONE_ERUNTIME);
    assert_int_equal(open_bad(r, "fine", &again), HONE_ERUNTIME);
    assert_string_equal(err.cause, again.cause);
    assert_int_equal(hone_runner_usage_get(r, &u, &err), HONE_OK);
    assert_true(u.cpu_user_s >= 0);
    hone_runner_stop(r);
}

/* Counts what this process has open. */
static int open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int  n = 0;
    assert_non_null(d);
    while (readdir(d)) n++;
    (void)closedir(d);
    return n;
}

static void a_chatty_runtime_neither_blocks_nor_reaches_our_output(void **state)
{
    (void)state;
    hone_err err = { 0 };
    int      out[2], keep[2] = { dup(1), dup(2) };
    char     buf[64];
    (void)fflush(NULL);
    assert_int_equal(pipe(out), 0);
    assert_true(dup2(out[1], 1) == 1 && dup2(out[1], 2) == 2);
    (void)close(out[1]);
    hone_runner *r = start((hone_runner_options){ .timeout_s = 20 });
    hone_code    opened = open_bad(r, "forward:shout", &err), went = forward(r, &err);
    hone_runner_stop(r);
    assert_true(dup2(keep[0], 1) == 1 && dup2(keep[1], 2) == 2);
    (void)close(keep[0]);
    (void)close(keep[1]);
    assert_int_equal(opened, HONE_OK);
    assert_int_equal(went, HONE_OK);
    assert_int_equal(read(out[0], buf, sizeof buf), 0); /* nothing but the end */
    (void)close(out[0]);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    hone_err err = { 0 };
    int      before = open_files();
    for (int i = 0; i < 20; i++) {
        hone_runner *r = start((hone_runner_options){ 0 });
        if (i % 2) (void)open_bad(r, "open:abort", &err);
        hone_runner_stop(r);
    }
    hone_runner_stop(NULL);
    assert_int_equal(open_files(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static volatile sig_atomic_t cancelled;
static void                  on_alarm(int sig)
{
    (void)sig;
    cancelled = 1;
}

static void a_cancelled_request_ends_at_once(void **state)
{
    (void)state;
    hone_err         err = { 0 };
    double           from = now_s();
    struct sigaction sa = { .sa_handler = on_alarm }, old;
    hone_runner     *r = start((hone_runner_options){ 0 });
    assert_int_equal(open_bad(r, "forward:hang", &err), HONE_OK);
    ctx.cancel = &cancelled;
    (void)sigaction(SIGALRM, &sa, &old);
    (void)setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { .tv_usec = 200000 } }, NULL);
    assert_int_equal(forward(r, &err), HONE_ERESOURCE);
    assert_string_equal(err.cause, "interrupted");
    assert_true(now_s() - from < 10);
    assert_int_equal(hone_runner_pid(r), 0);
    hone_runner_stop(r);
    r = NULL;
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "bad", .plugin_dir = plugins }, &r, &err), HONE_ERESOURCE);
    assert_null(r);
    (void)sigaction(SIGALRM, &old, NULL);
    ctx.cancel = NULL;
}

static void a_killed_parent_takes_the_hanging_child_with_it(void **state)
{
    (void)state;
    int  p[2], status;
    long child = 0;
    assert_int_equal(pipe(p), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        hone_err     err = { 0 };
        hone_runner *r = start((hone_runner_options){ 0 });
        if (open_bad(r, "forward:hang", &err) != HONE_OK) _exit(1);
        long id = hone_runner_pid(r);
        if (write(p[1], &id, sizeof id) != sizeof id) _exit(1);
        (void)forward(r, &err);
        _exit(0);
    }
    (void)close(p[1]);
    assert_int_equal(read(p[0], &child, sizeof child), (int)sizeof child);
    (void)close(p[0]);
    (void)usleep(100000);
    assert_int_equal(kill((pid_t)child, 0), 0);
    (void)kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    /* It is somebody else's zombie now, if anything: gone means no running process of that number. */
    bool gone = false;
    for (int i = 0; i < 100 && !gone; i++) {
        char path[64], line[256] = "";
        (void)snprintf(path, sizeof path, "/proc/%ld/stat", child);
        FILE *f = fopen(path, "r");
        bool  read = f && fgets(line, sizeof line, f);
        if (f) (void)fclose(f);
        const char *name_end = read ? strrchr(line, ')') : NULL;
        gone = !name_end || name_end[2] == 'Z';
        if (!gone) (void)usleep(50000);
    }
    assert_true(gone);
}

/* The first line of /proc/PID/<file> that begins so. */
static void proc_line(long pid, const char *file, const char *begin, char *out, size_t cap)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    do {
        if (!fgets(out, (int)cap, in)) fail_msg("no '%s' in %s", begin, path);
    } while (strncmp(out, begin, strlen(begin)) != 0);
    (void)fclose(in);
}

static void a_child_dumps_no_core_and_has_a_group_of_its_own(void **state)
{
    (void)state;
    char         line[256];
    unsigned     soft = 0, hard = 0;
    hone_runner *r = start((hone_runner_options){ 0 });
    proc_line(hone_runner_pid(r), "limits", "Max core file size", line, sizeof line);
    assert_int_equal(sscanf(line, "Max core file size %u %u bytes", &soft, &hard), 2);
    assert_true(soft <= 1 && hard <= 1); /* no core fits into one byte */
    proc_line(hone_runner_pid(r), "oom_score_adj", "", line, sizeof line);
    assert_true(strtol(line, NULL, 10) >= 500);
    /* Ctrl-C on a terminal goes to a group: to us, and we decide. */
    assert_int_not_equal(getpgid((pid_t)hone_runner_pid(r)), getpgid(0));
    hone_runner_stop(r);
}

static void plug_ins_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    hone_runner *r = NULL;
    hone_err     err = { 0 };
    char         want[8192];
    hone_ctx     nowhere = { .libexec_dir = "/nonexistent" };
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "bad_abi", .plugin_dir = plugins }, &r, &err),
                     HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "was built for version 77 of the plug-in interface, this is version 3"));
    assert_string_equal(err.remedy, "build or install hone again: hone-runner and hone-backend-*.so belong together");
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "bad_empty", .plugin_dir = plugins }, &r, &err),
                     HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "is not a plug-in of hone"));
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "other", .plugin_dir = plugins }, &r, &err),
                     HONE_EUNSUPPORTED);
    (void)snprintf(want, sizeof want, "runtime 'other' is not installed: no plug-in '%s/hone-backend-other.so'", plugins);
    assert_string_equal(err.cause, want);
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "mlx", .plugin_dir = plugins }, &r, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.remedy, "run `make deps`, then build hone again");
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "bad_library", .plugin_dir = plugins }, &r, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "cannot load the plug-in: libnowhere.so: cannot open shared object file"));
    assert_true(err.remedy[0] && !strchr(err.cause, '\n'));
    assert_int_equal(hone_runner_start(&ctx, &(hone_runner_options){ .backend = "bad_probe", .plugin_dir = plugins }, &r, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "the library 'libbad.so' is not there");
    assert_true(err.remedy[0]);
    assert_int_equal(hone_runner_start(&nowhere, &(hone_runner_options){ .backend = "bad" }, &r, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "no program '/nonexistent/hone-runner'");
    assert_null(r);
}

static size_t n_layers;
static void   on_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    const int32_t *ids = user;
    assert_int_equal(layer, n_layers++);
    assert_int_equal(n_embd, 3);
    for (size_t i = 0; i < n * n_embd; i++) assert_true(values[i] == (float)(100 * layer + (uint32_t)ids[i / 3] + i % 3));
}

static void layers_come_in_order_and_whole(void **state)
{
    enum { MANY = 200000 }; /* more than one frame for each layer */
    (void)state;
    hone_err     err = { 0 };
    hone_runner *r = start((hone_runner_options){ 0 });
    int32_t     *ids = calloc(MANY, sizeof *ids);
    assert_non_null(ids);
    for (int i = 0; i < MANY; i++) ids[i] = i % 16;
    assert_int_equal(open_bad(r, "fine", &err), HONE_OK);
    n_layers = 0;
    if (hone_runner_layers(r, ids, MANY, on_layer, ids, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(n_layers, 2);
    static const struct { const char *deed, *cause; } lies[] = {
        { "forward:torn", "the runtime's process does not keep the protocol: layers that are not whole" },
        { "forward:order", "the runtime's process does not keep the protocol: a layer out of order" },
    };
    for (size_t i = 0; i < HONE_COUNT(lies); i++) {
        hone_runner_stop(r);
        r = start((hone_runner_options){ 0 });
        assert_int_equal(open_bad(r, lies[i].deed, &err), HONE_OK);
        assert_int_equal(hone_runner_layers(r, ids, 3, NULL, NULL, &err), HONE_ERUNTIME);
        assert_string_equal(err.cause, lies[i].cause);
    }
    hone_runner_stop(r);
    free(ids);
}

static void a_runtime_without_a_tokenizer_says_so(void **state)
{
    (void)state;
    hone_err          err = { 0 };
    hone_arena        a = { 0 };
    hone_backend_info info = { 0 };
    hone_runner      *r = start((hone_runner_options){ .backend = "bad_text" });
    int32_t          *ids = NULL;
    char             *text = NULL;
    size_t            n = 0;
    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = "fine", .device = "npu" }, &info, NULL, &err), HONE_OK);
    assert_string_equal(info.device, "cpu");
    assert_string_equal(info.fallback, "no npu\\x1b here"); /* what a runtime says is made safe to show */
    assert_int_equal(hone_runner_tokenize(r, "a", 1, true, true, &a, &ids, &n, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "this runtime has no tokenizer");
    assert_int_equal(hone_runner_detokenize(r, (const int32_t[]){ 1 }, 1, true, true, &a, &text, &n, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "this runtime has no tokenizer");
    assert_int_equal(hone_runner_layers(r, (const int32_t[]){ 1 }, 1, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "this runtime does not show what is behind each layer");
    assert_int_equal(forward(r, &err), HONE_OK);
    hone_runner_stop(r);
    hone_arena_release(&a);
}

static void a_probe_names_version_and_devices(void **state)
{
    (void)state;
    hone_err     err = { 0 };
    char         version[32], devices[32];
    hone_runner *r = start((hone_runner_options){ 0 });
    assert_int_equal(hone_runner_probe(r, version, sizeof version, devices, sizeof devices, &err), HONE_OK);
    assert_string_equal(version, "0.bad");
    assert_string_equal(devices, "none");
    hone_runner_stop(r);
}

int main(void)
{
    const char *build = getenv("HONE_BUILD_DIR");
    if (!build) {
        printf("HONE_BUILD_DIR is not set: run this through ctest\n");
        return 1;
    }
    ctx.libexec_dir = build;
    (void)snprintf(plugins, sizeof plugins, "%s/tests/plugins", build);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_names_the_signal_the_request_and_the_last_words),
        cmocka_unit_test(a_hang_is_stopped_after_the_timeout),
        cmocka_unit_test(a_hung_up_socket_is_the_end_of_the_process),
        cmocka_unit_test(a_glutton_is_stopped_at_its_limit),
        cmocka_unit_test(what_breaks_the_protocol_is_stopped),
        cmocka_unit_test(a_failure_is_told_with_what_was_printed_made_safe),
        cmocka_unit_test(a_failed_request_leaves_the_child_usable),
        cmocka_unit_test(logits_that_are_no_numbers_stop_generation),
        cmocka_unit_test(after_a_death_every_request_repeats_the_reason),
        cmocka_unit_test(a_chatty_runtime_neither_blocks_nor_reaches_our_output),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(a_cancelled_request_ends_at_once),
        cmocka_unit_test(a_killed_parent_takes_the_hanging_child_with_it),
        cmocka_unit_test(a_child_dumps_no_core_and_has_a_group_of_its_own),
        cmocka_unit_test(plug_ins_that_do_not_fit_are_refused),
        cmocka_unit_test(a_probe_names_version_and_devices),
        cmocka_unit_test(layers_come_in_order_and_whole),
        cmocka_unit_test(a_runtime_without_a_tokenizer_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
