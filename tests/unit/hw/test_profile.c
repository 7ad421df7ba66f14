#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/text.h"
#include "hw/profile.h"
#include "hw/target.h"
#include <string.h>

static const hone_ctx ctx = { .data_dir = HONE_TEST_SOURCE_DIR };

/* A whole profile, of which one fact is replaced; more: further facts, each beginning with a comma. */
static char *profile(const char *key, const char *fact, const char *more)
{
    static const char *const whole[][2] = {
        { "target.vendor", "\"arm\"" },      { "target.platform", "\"embedded_arm\"" }, { "target.os", "\"Linux\"" },
        { "cpu.arch", "\"arm64\"" },         { "cpu.model", "\"a chip\"" },             { "cpu.features", "[\"neon\"]" },
        { "cpu.cores", "4" },                { "cpu.threads", "4" },                    { "memory.total_bytes", "2000000000" },
        { "memory.available_bytes", "1000000000" }, { "accelerators", "[]" },           { "policy.format", "\"gguf\"" },
        { "policy.quantization", "\"q4_k_m\"" },    { "policy.threads", "4" },          { "policy.context", "512" },
    };
    hone_text t = { 0 };
    hone_text_add(&t, "{\"schema\":\"hone.profile/1\",\"name\":\"board\",\"title\":\"A board\",\"facts\":{");
    bool first = true;
    for (size_t i = 0; i < HONE_COUNT(whole); i++) {
        bool mine = key && strcmp(key, whole[i][0]) == 0;
        if (mine && !fact) continue;
        hone_text_addf(&t, "%s\"%s\":", first ? "" : ",", whole[i][0]);
        if (mine) hone_text_add(&t, fact);
        else hone_text_addf(&t, "{\"value\":%s,\"basis\":\"nominal\",\"source\":\"its datasheet\"}", whole[i][1]);
        first = false;
    }
    hone_text_addf(&t, "%s}}", more ? more : "");
    return t.ptr;
}

static void refuses(char *text, const char *cause, const char *remedy)
{
    hone_err err = { 0 };
    json_t  *out = NULL;
    assert_int_equal(hone_profile_parse((hone_bytes){ (uint8_t *)text, strlen(text) }, "p", &out, &err), HONE_EINPUT);
    assert_string_equal(err.cause, cause);
    assert_string_equal(err.remedy, remedy);
    assert_null(out);
    hone_text_release(&(hone_text){ .ptr = text });
}

#define FACT(value) "{\"value\":" value ",\"basis\":\"nominal\",\"source\":\"s\"}"

static void a_whole_profile_reads_like_a_probed_machine(void **state)
{
    char       *text = profile("accelerators", FACT("[{\"kind\":\"npu\",\"vendor\":\"x\",\"name\":\"y\",\"tops_int8\":2.5}]"),
                               ",\"memory.read_gb_s\":" FACT("16.5") ",\"cpu.l3_bytes\":" FACT("4194304"));
    json_t     *doc = NULL;
    hone_err    err = { 0 };
    hone_target t;
    (void)state;
    assert_int_equal(hone_profile_parse((hone_bytes){ (uint8_t *)text, strlen(text) }, "p", &doc, &err), HONE_OK);
    assert_int_equal(hone_target_read(doc, &t, &err), HONE_OK);
    assert_string_equal(t.name, "board");
    assert_string_equal(t.platform, "embedded_arm");
    assert_false(t.host);
    assert_false(t.read_measured);
    assert_int_equal(t.threads, 4);
    assert_int_equal(t.ram_bytes, 1000000000);
    assert_int_equal(t.cache_bytes, 4194304);
    assert_int_equal(t.package_bytes, 0);
    assert_true(t.read_gb_s == 16.5);
    assert_string_equal(json_string_value(json_object_get(json_object_get(doc, "sources"), "memory.read_gb_s")), "s");
    assert_string_equal(json_string_value(json_object_get(json_object_get(doc, "basis"), "cpu.cores")), "nominal");
    const json_t *power = json_object_get(doc, "power");
    assert_true(json_is_null(json_object_get(power, "source")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(power, "not_measured"), "source")), "the profile does not say");
    assert_string_equal(json_string_value(json_object_get(json_object_get(power, "not_measured"), "energy_counter")),
                        "a named profile is not a machine");
    json_decref(doc);
    hone_text_release(&(hone_text){ .ptr = text });
}

static void bad_facts_are_refused_by_name(void **state)
{
    (void)state;
    refuses(profile("cpu.cores", NULL, NULL), "profile 'p': fact 'cpu.cores' is missing", "add it with its basis and source");
    refuses(profile(NULL, NULL, ",\"cpu.core\":" FACT("1")), "profile 'p': fact 'cpu.core' is not known", "did you mean 'cpu.cores'?");
    refuses(profile("cpu.cores", FACT("0"), NULL), "profile 'p': fact 'cpu.cores' is 0, needs 1..4096", "");
    refuses(profile("cpu.cores", FACT("\"4\""), NULL), "profile 'p': fact 'cpu.cores' is not a whole number", "");
    refuses(profile("cpu.cores", FACT("4.5"), NULL), "profile 'p': fact 'cpu.cores' is not a whole number", "");
    refuses(profile("cpu.arch", FACT("\"z80\""), NULL), "profile 'p': fact 'cpu.arch' is 'z80', needs one of arm64|arm|x86_64|wasm32|riscv64", "");
    refuses(profile("cpu.model", FACT("\"a\\u001b[31m\""), NULL), "profile 'p': fact 'cpu.model' holds the control byte 0x1b", "");
    refuses(profile("cpu.features", FACT("\"neon\""), NULL), "profile 'p': fact 'cpu.features' is not a list of at most 64 words", "");
    refuses(profile("accelerators", FACT("[{\"kind\":\"gpu\"}]"), NULL), "profile 'p': fact 'accelerators[0]' needs kind, vendor and name", "");
    refuses(profile("accelerators", FACT("[{\"kind\":\"abacus\",\"vendor\":\"v\",\"name\":\"n\"}]"), NULL),
            "profile 'p': fact 'accelerators[0].kind' is 'abacus', needs one of gpu|npu|tpu|vpu|dsp|other", "");
    refuses(profile("accelerators", FACT("[{\"kind\":\"gpu\",\"vendor\":\"v\",\"name\":\"n\",\"cores\":1}]"), NULL),
            "profile 'p': fact 'accelerators[0].cores' is not known",
            "known are kind, vendor, name, note, memory_bytes, read_gb_s, tops_int8, shares_memory");
    refuses(profile(NULL, NULL, ",\"memory.read_gb_s\":" FACT("-1")), "profile 'p': fact 'memory.read_gb_s' is -1, needs 0.01..100000", "");
    refuses(profile("memory.available_bytes", FACT("3000000000"), NULL),
            "profile 'p': memory.available_bytes is 3000000000, over memory.total_bytes, 2000000000", "");
}

static void a_fact_without_source_or_basis_is_refused(void **state)
{
    (void)state;
    refuses(profile("cpu.cores", "{\"value\":4,\"basis\":\"nominal\"}", NULL), "profile 'p': fact 'cpu.cores' has no source",
            "name the datasheet or page that says so");
    refuses(profile("cpu.cores", "{\"value\":4,\"basis\":\"nominal\",\"source\":\"\"}", NULL), "profile 'p': fact 'cpu.cores' has no source",
            "name the datasheet or page that says so");
    refuses(profile("cpu.cores", "{\"value\":4,\"source\":\"s\"}", NULL), "profile 'p': fact 'cpu.cores' has no basis of nominal|typical|policy", "");
    refuses(profile("cpu.cores", "{\"value\":4,\"basis\":\"measured\",\"source\":\"s\"}", NULL),
            "profile 'p': fact 'cpu.cores' has no basis of nominal|typical|policy", "");
    refuses(profile("cpu.cores", "{\"basis\":\"nominal\",\"source\":\"s\"}", NULL), "profile 'p': fact 'cpu.cores' has no value", "");
    refuses(profile("cpu.cores", "4", NULL), "profile 'p': fact 'cpu.cores' is not {value, basis, source}", "");
    refuses(profile("cpu.cores", "{\"value\":4,\"basis\":\"nominal\",\"source\":\"s\",\"unit\":1}", NULL),
            "profile 'p': fact 'cpu.cores' has the unknown key 'unit'", "known are value, basis, source");
}

static void what_is_no_profile_is_refused(void **state)
{
    static const char *const bad[][2] = {
        { "[]", "profile 'p': it is not a JSON object" },
        { "{}", "profile 'p': \"schema\" is '', needs 'hone.profile/1'" },
        { "{\"schema\":\"hone.profile/2\"}", "profile 'p': \"schema\" is 'hone.profile/2', needs 'hone.profile/1'" },
        { "{\"schema\":\"hone.profile/1\",\"name\":\"x\",\"title\":\"y\"}", "profile 'p': \"facts\" is missing" },
        { "{\"schema\":\"hone.profile/1\",\"name\":\"../x\",\"title\":\"y\"}", "profile 'p': the name '../x' may hold a-z, 0-9 and - only" },
        { "{\"schema\":\"hone.profile/1\",\"nam\":\"x\"}", "profile 'p': unknown key 'nam', known are schema|name|title|aliases|about|facts" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_err err = { 0 };
        json_t  *out = NULL;
        assert_int_equal(hone_profile_parse((hone_bytes){ (const uint8_t *)bad[i][0], strlen(bad[i][0]) }, "p", &out, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i][1]);
        assert_null(out);
    }
}

static void every_profile_of_ours_loads_under_its_file_name_and_its_aliases(void **state)
{
    json_t  *list = NULL, *doc = NULL, *p, *a;
    hone_err err = { 0 };
    size_t   i, k, aliases = 0;
    (void)state;
    assert_int_equal(hone_profile_list(&ctx, &list, &err), HONE_OK);
    assert_true(json_array_size(list) >= 12);
    json_array_foreach(list, i, p) {
        const char *name = json_string_value(json_object_get(p, "name"));
        char        file[256];
        (void)snprintf(file, sizeof file, "%s/profiles/%s.json", HONE_TEST_SOURCE_DIR, name);
        assert_int_equal(hone_profile_load(&ctx, file, &doc, &err), HONE_OK);
        json_decref(doc);
        json_array_foreach(json_object_get(p, "aliases"), k, a) {
            size_t  j, l;
            json_t *q, *b;
            assert_int_equal(hone_profile_load(&ctx, json_string_value(a), &doc, &err), HONE_OK);
            assert_string_equal(json_string_value(json_object_get(json_object_get(doc, "target"), "name")), name);
            json_decref(doc);
            aliases++;
            /* one name, one target */
            json_array_foreach(list, j, q) {
                assert_string_not_equal(json_string_value(json_object_get(q, "name")), json_string_value(a));
                json_array_foreach(json_object_get(q, "aliases"), l, b)
                    if (j != i) assert_string_not_equal(json_string_value(b), json_string_value(a));
            }
        }
    }
    assert_true(aliases >= 12);
    json_decref(list);
}

static void the_targets_of_the_mission_are_there(void **state)
{
    static const char *const names[] = { "android", "android-arm64", "ios", "raspberry-pi-5", "jetson-orin", "intel-core", "intel-xeon",
                                         "intel-npu", "apple-m-series", "nvidia-gpu", "edge-tpu", "embedded-arm", "browser", "cloud-edge" };
    json_t     *doc = NULL;
    hone_err    err = { 0 };
    hone_target t;
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(names); i++) {
        assert_int_equal(hone_profile_load(&ctx, names[i], &doc, &err), HONE_OK);
        assert_int_equal(hone_target_read(doc, &t, &err), HONE_OK);
        assert_true(t.ram_bytes > 0 && t.threads > 0 && t.context > 0);
        if (strcmp(names[i], "ios") == 0) assert_int_equal(t.package_bytes, 50000000);
        if (strcmp(names[i], "android") == 0) assert_int_equal(t.package_bytes, 100000000);
        json_decref(doc);
    }
}

static void an_unknown_target_is_named_with_the_nearest_one(void **state)
{
    json_t  *doc = NULL;
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_profile_load(&ctx, "intel-cor", &doc, &err), HONE_EUSAGE);
    assert_string_equal(err.cause, "there is no target 'intel-cor'");
    assert_string_equal(err.remedy, "did you mean 'intel-core'? hone probe --list shows all; host is this machine");
    assert_int_equal(hone_profile_load(&ctx, "../../etc/passwd", &doc, &err), HONE_EUSAGE);
    assert_int_equal(hone_profile_load(&(hone_ctx){ 0 }, "ios", &doc, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "the folder of target profiles is not known");
    assert_int_equal(hone_profile_load(&ctx, "/nowhere/x.json", &doc, &err), HONE_EINPUT);
    assert_null(doc);
}

static void a_machine_is_classified_by_what_computes_in_it(void **state)
{
    static const struct { const char *doc, *vendor, *platform; } rows[] = {
        { "{'cpu':{'vendor':'apple','arch':'arm64'},'accelerators':[]}", "apple", "apple_silicon" },
        { "{'cpu':{'vendor':'intel','arch':'x86_64'},'accelerators':[]}", "intel", "intel" },
        { "{'cpu':{'vendor':'intel','arch':'x86_64'},'accelerators':[{'kind':'gpu','vendor':'nvidia','usable':true}]}", "nvidia", "nvidia_gpu" },
        { "{'cpu':{'vendor':'intel','arch':'x86_64'},'accelerators':[{'kind':'gpu','vendor':'nvidia','usable':false}]}", "intel", "intel" },
        { "{'cpu':{'vendor':'amd','arch':'x86_64'},'accelerators':[]}", "amd", "generic" },
        { "{'cpu':{'vendor':'arm','arch':'arm64','cores':4},'accelerators':[{'kind':'tpu','vendor':'google','usable':true}]}", "google", "edge_tpu" },
        { "{'cpu':{'vendor':'arm','arch':'arm64','cores':4},'accelerators':[]}", "arm", "embedded_arm" },
        { "{'cpu':{'vendor':'qualcomm','arch':'arm64','cores':8},'power':{'battery':{}},'accelerators':[]}", "qualcomm", "arm_mobile" },
        { "{'cpu':{'vendor':'ampere','arch':'arm64','cores':80},'accelerators':[]}", "arm", "generic" },
        { "{}", "generic", "generic" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "%s", rows[i].doc);
        for (char *p = text; *p; p++)
            if (*p == '\'') *p = '"';
        json_t     *doc = json_loads(text, 0, NULL);
        const char *vendor, *platform;
        assert_non_null(doc);
        hone_target_classify(doc, &vendor, &platform);
        assert_string_equal(vendor, rows[i].vendor);
        assert_string_equal(platform, rows[i].platform);
        json_decref(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_profile_reads_like_a_probed_machine),
        cmocka_unit_test(bad_facts_are_refused_by_name),
        cmocka_unit_test(a_fact_without_source_or_basis_is_refused),
        cmocka_unit_test(what_is_no_profile_is_refused),
        cmocka_unit_test(every_profile_of_ours_loads_under_its_file_name_and_its_aliases),
        cmocka_unit_test(the_targets_of_the_mission_are_there),
        cmocka_unit_test(an_unknown_target_is_named_with_the_nearest_one),
        cmocka_unit_test(a_machine_is_classified_by_what_computes_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
