/* Comparing instead of writing: the same files say nothing; of any byte that is another, in the model or in the data beside it (models over 2 GB have it), the
 * judge is told once, and where it lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "formats/onnx/net.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct seen { hone_onnx_net_check check; const hone_net *net; size_t n; uint64_t at; bool in_constant, in_data; } seen;

static void differs(void *user, const hone_out *o, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    seen *s = user;
    (void)o;
    for (size_t i = 0; i < n; i++) {
        if (i < n_found && want[i] == found[i]) continue;
        s->n++;
        s->at = off + i;
    }
    s->in_data = strcmp(s->check.file, "m.onnx.data") == 0;
    s->in_constant = s->check.constant != HONE_ONNX_NO_CONSTANT;
    if (!s->in_constant) return;
    const hone_net_tensor *t = s->net->constants[s->check.constant]->tensor;
    assert_true(s->at >= s->check.begin && s->at - s->check.begin < t->bytes);
}

static seen compare(const hone_net *net, const char *dir, uint64_t inline_max)
{
    seen                  s = { .net = net };
    hone_onnx_net_written w;
    hone_err              err = { 0 };
    s.check.judge = (hone_out_judge){ differs, &s };
    if (hone_onnx_net_compare(&(hone_ctx){ 0 }, net, dir, "m.onnx", inline_max, &s.check, &w, &err) != HONE_OK) fail_msg("%s", err.cause);
    return s;
}

static size_t flip_all(const hone_net *net, const char *dir, const char *file, uint64_t inline_max, bool data)
{
    char   path[96];
    size_t constants = 0;
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    for (long at = 0; at < size; at += at < 64 || at > size - 64 ? 1 : 37) {
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        int c = fgetc(f);
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        assert_int_equal(fputc(c ^ 16, f), c ^ 16);
        assert_int_equal(fflush(f), 0);
        seen s = compare(net, dir, inline_max);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.at, at);
        assert_int_equal(s.in_data, data);
        constants += s.in_constant;
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        assert_int_equal(fputc(c, f), c);
        assert_int_equal(fflush(f), 0);
    }
    assert_int_equal(fclose(f), 0);
    return constants;
}

static void any_byte_is_found_where_it_lies(void **state)
{
    (void)state;
    for (int outside = 0; outside < 2; outside++) {
        char                  dir[] = "/tmp/hone-net-XXXXXX", path[96];
        uint64_t              inline_max = outside ? 0 : UINT64_MAX;
        hone_net              net;
        hone_onnx_net_written w, planned;
        hone_err              err = { 0 };
        assert_non_null(mkdtemp(dir));
        if (hone_onnx_net_open(HONE_SOURCE_DATA_DIR "/tests/golden/net/mlp.onnx", &net, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(hone_onnx_net_write(&(hone_ctx){ 0 }, &net, dir, "m.onnx", inline_max, &w, &err), HONE_OK);
        assert_int_equal(hone_onnx_net_size(&net, "m.onnx", inline_max, &planned, &err), HONE_OK);
        assert_int_equal(planned.bytes, w.bytes);
        assert_int_equal(planned.data_bytes, w.data_bytes);
        assert_int_equal(w.external, outside);
        assert_int_equal(compare(&net, dir, inline_max).n, 0);
        size_t in_model = flip_all(&net, dir, "m.onnx", inline_max, false);
        assert_true(in_model > 0);
        if (outside) assert_true(flip_all(&net, dir, "m.onnx.data", inline_max, true) > 0);
        (void)snprintf(path, sizeof path, "%s/m.onnx.data", dir);
        assert_int_equal(unlink(path), outside ? 0 : -1);
        (void)snprintf(path, sizeof path, "%s/m.onnx", dir);
        assert_int_equal(unlink(path), 0);
        assert_true(compare(&net, dir, inline_max).n > 0);
        hone_net_close(&net);
        assert_int_equal(rmdir(dir), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_byte_is_found_where_it_lies) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
