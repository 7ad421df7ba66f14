/* test_ov_ir.c - graphs of OpenVINO IR as text and bytes, and their constants read back. */
#include "base/text.h"
#include "formats/openvino.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

typedef struct made { hone_bytes xml, bin; uint64_t total; } made;

static hone_code finish(hone_ov_ir *ir, made *m, hone_err *err) { return hone_ov_finish(ir, &m->xml, &m->bin, &m->total, err); }

static void a_graph_is_xml_with_numbered_ports(void **state)
{
    static const char want[] =
        "<?xml version=\"1.0\"?>\n<net name=\"n\" version=\"11\">\n\t<layers>\n"
        "\t\t<layer id=\"0\" name=\"x\" type=\"Parameter\" version=\"opset1\">\n\t\t\t<data shape=\"?,2\" element_type=\"f32\" />\n\t\t\t<output>\n"
        "\t\t\t\t<port id=\"0\" precision=\"FP32\" names=\"x\">\n\t\t\t\t\t<dim>-1</dim>\n\t\t\t\t\t<dim>2</dim>\n\t\t\t\t</port>\n\t\t\t</output>\n\t\t</layer>\n"
        "\t\t<layer id=\"1\" name=\"Const_1\" type=\"Const\" version=\"opset1\">\n\t\t\t<data element_type=\"f32\" shape=\"\" offset=\"0\" size=\"4\" />\n\t\t\t<output>\n"
        "\t\t\t\t<port id=\"0\" precision=\"FP32\" />\n\t\t\t</output>\n\t\t</layer>\n"
        "\t\t<layer id=\"2\" name=\"sum\" type=\"Add\" version=\"opset1\">\n\t\t\t<data auto_broadcast=\"numpy\" />\n\t\t\t<input>\n"
        "\t\t\t\t<port id=\"0\" precision=\"FP32\">\n\t\t\t\t\t<dim>-1</dim>\n\t\t\t\t\t<dim>2</dim>\n\t\t\t\t</port>\n\t\t\t\t<port id=\"1\" precision=\"FP32\" />\n\t\t\t</input>\n"
        "\t\t\t<output>\n\t\t\t\t<port id=\"2\" precision=\"FP32\" names=\"y\">\n\t\t\t\t\t<dim>-1</dim>\n\t\t\t\t\t<dim>2</dim>\n\t\t\t\t</port>\n\t\t\t</output>\n\t\t</layer>\n"
        "\t\t<layer id=\"3\" name=\"r\" type=\"Result\" version=\"opset1\">\n\t\t\t<input>\n\t\t\t\t<port id=\"0\" precision=\"FP32\">\n\t\t\t\t\t<dim>-1</dim>\n"
        "\t\t\t\t\t<dim>2</dim>\n\t\t\t\t</port>\n\t\t\t</input>\n\t\t</layer>\n\t</layers>\n\t<edges>\n"
        "\t\t<edge from-layer=\"0\" from-port=\"0\" to-layer=\"2\" to-port=\"0\" />\n\t\t<edge from-layer=\"1\" from-port=\"0\" to-layer=\"2\" to-port=\"1\" />\n"
        "\t\t<edge from-layer=\"2\" from-port=\"2\" to-layer=\"3\" to-port=\"0\" />\n\t</edges>\n\t<rt_info>\n\t\t<a>\n\t\t\t<b value=\"1\" />\n\t\t\t<c value=\"2\" />\n"
        "\t\t</a>\n\t\t<d value=\"&lt;&amp;&quot;&#10;\" />\n\t</rt_info>\n</net>\n";
    hone_arena    a = { 0 };
    hone_err      err = { 0 };
    hone_ov_ir   *ir = hone_ov_new(&a, "n");
    hone_ov_shape s = { .type = HONE_OV_F32, .n_dims = 2, .dims = { HONE_OV_DYN, 2 } };
    made          m;
    (void)state;
    hone_ov_port x = hone_ov_parameter(ir, "x", &s), c = hone_ov_scalar_f32(ir, 1);
    hone_ov_port y = hone_ov_op(ir, "sum", "Add", "opset1", (const hone_ov_port[]){ x, c }, 2, &s, "auto_broadcast", "numpy", NULL);
    hone_ov_set_names(ir, y, "y");
    (void)hone_ov_result(ir, "r", y);
    hone_ov_info(ir, "a/b", "1");
    hone_ov_info(ir, "d", "<&\"\n");
    hone_ov_info(ir, "a/c", "2");
    assert_int_equal(finish(ir, &m, &err), HONE_OK);
    assert_string_equal((const char *)m.xml.ptr, want);
    assert_int_equal(m.bin.len, 4);
    assert_int_equal(m.total, 4);
    hone_arena_release(&a);
}

static void weights_stand_aligned_behind_what_is_known(void **state)
{
    hone_arena          a = { 0 };
    hone_err            err = { 0 };
    hone_ov_ir         *ir = hone_ov_new(&a, "n");
    hone_ov_found      *found;
    const hone_ov_shape u4 = { .type = HONE_OV_U4, .n_dims = 2, .dims = { 3, 5 } }, f16 = { .type = HONE_OV_F16, .n_dims = 1, .dims = { 3 } };
    made                m;
    size_t              n;
    (void)state;
    hone_ov_port w = hone_ov_weight(ir, "w", &u4), k = hone_ov_scalar_i64(ir, 7), s = hone_ov_weight(ir, "s", &f16);
    (void)hone_ov_scalar_i64(ir, 8); /* needed by nothing: left out */
    (void)hone_ov_result(ir, "r", k);
    (void)hone_ov_result(ir, "q", w);
    (void)hone_ov_result(ir, "p", s);
    assert_int_equal(finish(ir, &m, &err), HONE_OK);
    assert_int_equal(hone_ov_const_offset(ir, k), 0);
    assert_int_equal(hone_ov_const_offset(ir, w), 64);
    assert_int_equal(hone_ov_const_bytes(ir, w), 8); /* 15 halves of a byte */
    assert_int_equal(hone_ov_const_offset(ir, s), 128);
    assert_int_equal(m.bin.len, 64);
    assert_int_equal(m.total, 134);
    assert_int_equal(hone_le64(m.bin.ptr), 7);
    assert_int_equal(hone_ov_read_consts(m.xml, &a, &found, &n, &err), HONE_OK);
    assert_int_equal(n, 3);
    const hone_ov_found *f = hone_ov_find_const(found, n, "w");
    assert_non_null(f);
    assert_string_equal(f->type, "u4");
    assert_string_equal(f->shape, "3,5");
    assert_true(f->offset == 64 && f->bytes == 8);
    assert_null(hone_ov_find_const(found, n, "v"));
    hone_arena_release(&a);
}

static void refused(void (*build)(hone_ov_ir *), hone_code code, const char *cause)
{
    hone_arena  a = { 0 };
    hone_err    err = { 0 };
    made        m = { .total = 77 };
    hone_ov_ir *ir = hone_ov_new(&a, "n");
    build(ir);
    assert_int_equal(finish(ir, &m, &err), code);
    assert_string_equal(err.cause, cause);
    assert_int_equal(m.total, 77);
    hone_arena_release(&a);
}

static void same_name(hone_ov_ir *ir)
{
    const hone_ov_shape s = { .type = HONE_OV_I64 };
    (void)hone_ov_parameter(ir, "x", &s);
    (void)hone_ov_parameter(ir, "x", &s);
}
static void no_port(hone_ov_ir *ir) { (void)hone_ov_result(ir, "r", (hone_ov_port){ 3, 1 }); }
static void short_constant(hone_ov_ir *ir)
{
    (void)hone_ov_const(ir, "c", &(hone_ov_shape){ .type = HONE_OV_I64, .n_dims = 1, .dims = { 2 } }, "12345678", 8);
}
static void too_large(hone_ov_ir *ir)
{
    const hone_ov_shape s = { .type = HONE_OV_U8, .n_dims = 2, .dims = { INT64_MAX, 1 } };
    (void)hone_ov_weight(ir, "a", &(hone_ov_shape){ .type = HONE_OV_U8, .n_dims = 1, .dims = { INT64_MAX / 8 } });
    (void)hone_ov_weight(ir, "b", &s);
}

static void broken_promises_are_told_at_the_end(void **state)
{
    (void)state;
    refused(same_name, HONE_EBUG, "two layers are called 'x'");
    refused(no_port, HONE_EBUG, "Result 'r' takes output 1 of layer 3, which is not there");
    refused(short_constant, HONE_EBUG, "constant 'c' has 8 bytes, not those of its shape");
    refused(too_large, HONE_EUNSUPPORTED, "the weights up to 'b' have more bytes than 64 bits can count");
}

#define NET(body)   "<?xml version=\"1.0\"?><net name=\"n\" version=\"11\">" body "</net>"
#define LAYER(body) NET("<layers><layer id=\"0\" name=\"c\" type=\"Const\" version=\"opset1\">" body "</layer></layers>")

static void bad_files_are_refused_with_the_line(void **state)
{
    static const struct { const char *xml, *cause; } cases[] = {
        { "", "line 1: no element found" },
        { "<net version=\"10\"/>", "line 1: not a <net version=\"11\">" },
        { "<graph/>", "line 1: not a <net version=\"11\">" },
        { NET("<layers>"), "line 1: mismatched tag" },
        { "<!DOCTYPE net [<!ENTITY a \"aaaa\">]>" NET(""), "line 1: a document type, which IR does not have" },
        { NET("\n<layers><layer name=\"c\"/></layers>"), "line 2: a layer without a number" },
        { LAYER("<data element_type=\"f32\" offset=\"0\"/>"), "line 1: a constant without element_type, offset and size" },
        { LAYER("<data element_type=\"f32\" offset=\"18446744073709551615\" size=\"1\"/>"), "line 1: a constant without element_type, offset and size" },
        { LAYER("<data element_type=\"f32\" offset=\"-1\" size=\"1\"/>"), "line 1: a constant without element_type, offset and size" },
        { NET("<layers/><edges><edge from-layer=\"0\" to-layer=\"0\"/></edges>"), "line 1: an edge between layers that are not there" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(cases); i++) {
        hone_arena     a = { 0 };
        hone_err       err = { 0 };
        hone_ov_found *found = NULL;
        size_t         n = 77;
        assert_int_equal(hone_ov_read_consts((hone_bytes){ (const uint8_t *)cases[i].xml, strlen(cases[i].xml) }, &a, &found, &n, &err), HONE_EINPUT);
        assert_string_equal(err.cause, cases[i].cause);
        assert_true(!found && n == 77);
        hone_arena_release(&a);
    }
}

static void deep_nesting_ends(void **state)
{
    hone_text      t = { 0 };
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_ov_found *found;
    size_t         n;
    (void)state;
    hone_text_add(&t, "<net version=\"11\">");
    for (int i = 0; i < 100000; i++) hone_text_add(&t, "<a>");
    assert_int_equal(hone_ov_read_consts((hone_bytes){ (const uint8_t *)t.ptr, t.len }, &a, &found, &n, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "line 1: elements nest too deep");
    hone_text_release(&t);
    hone_arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_graph_is_xml_with_numbered_ports), cmocka_unit_test(weights_stand_aligned_behind_what_is_known),
        cmocka_unit_test(broken_promises_are_told_at_the_end), cmocka_unit_test(bad_files_are_refused_with_the_line), cmocka_unit_test(deep_nesting_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
