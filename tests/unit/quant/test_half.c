/* test_half.c - conversions between float32, the 16-bit floats and integers. */
#include "quant/half.h"
#include "quant/iq4.h"
#include "quant/round.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void every_f16_survives_the_way_there_and_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        bool nan = (h & 0x7fffu) > 0x7c00u;
        uint32_t want = nan ? (h & 0x8000u) | 0x7e00u : h;
        assert_int_equal(hone_f16_from_f32(hone_f32_from_f16((uint16_t)h)), want);
    }
}

static void f16_values_are_those_of_ieee_754(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00u; h++) {
        int exp = (int)(h >> 10);
        float want = exp ? ldexpf((float)(1024 + (h & 1023)), exp - 25) : ldexpf((float)h, -24);
        assert_true(hone_f32_from_f16((uint16_t)h) == want);
        assert_true(hone_f32_from_f16((uint16_t)(h | 0x8000u)) == -want);
    }
    assert_true(hone_f32_from_f16(0x7c00) == INFINITY && hone_f32_from_f16(0xfc00) == -INFINITY);
    assert_int_equal(hone_f32_bits(hone_f32_from_f16(0x7c01)), 0x7fc02000); /* made quiet, payload kept */
    assert_int_equal(hone_f32_bits(hone_f32_from_f16(0x8000)), 0x80000000);
}

static void f16_rounds_to_the_nearest_and_ties_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bffu; h++) {
        /* the float halfway to the next f16 is exact; so are its two neighbours */
        float half = (hone_f32_from_f16((uint16_t)h) + hone_f32_from_f16((uint16_t)(h + 1))) / 2;
        uint32_t bits = hone_f32_bits(half);
        assert_int_equal(hone_f16_from_f32(half), h + (h & 1));
        assert_int_equal(hone_f16_from_f32(hone_f32_of(bits - 1)), h);
        assert_int_equal(hone_f16_from_f32(hone_f32_of(bits + 1)), h + 1);
    }
    assert_int_equal(hone_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(hone_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(hone_f16_from_f32(-1e30f), 0xfc00);
    assert_int_equal(hone_f16_from_f32(0x1p-25f), 0);
    assert_int_equal(hone_f16_from_f32(0x1.000002p-25f), 1);
    assert_int_equal(hone_f16_from_f32(-0x1p-149f), 0x8000);
    assert_int_equal(hone_f16_from_f32(hone_f32_of(0xff812345u)), 0xfe00);
}

static void bf16_rounds_to_the_nearest_and_ties_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7f80u; h++) {
        uint32_t half = h << 16 | 0x8000u;
        assert_int_equal(hone_bf16_from_f32(hone_f32_of(h << 16)), h);
        assert_int_equal(hone_bf16_from_f32(hone_f32_of(half)), h + (h & 1));
        assert_int_equal(hone_bf16_from_f32(hone_f32_of(half - 1)), h);
        assert_int_equal(hone_bf16_from_f32(hone_f32_of(half + 1)), h + 1);
    }
    assert_int_equal(hone_bf16_from_f32(INFINITY), 0x7f80);
    assert_int_equal(hone_bf16_from_f32(hone_f32_of(0x7f800001u)), 0x7fc0); /* a signalling NaN does not become infinity */
    assert_int_equal(hone_bf16_from_f32(hone_f32_of(0xffffffffu)), 0xffff);
}

static void rounding_away_from_zero_is_roundf(void **state)
{
    (void)state;
    for (int i = -200; i <= 200; i++)
        for (int side = -3; side <= 3; side++) {
            float v = (float)i / 2;
            for (int k = 0; k < (side < 0 ? -side : side); k++) v = nextafterf(v, side < 0 ? -INFINITY : INFINITY);
            assert_int_equal(hone_round(v), (int)roundf(v));
        }
    for (uint32_t bits = 0; bits < hone_f32_bits(4194303.0f); bits += 9973) {
        float v = hone_f32_of(bits);
        assert_int_equal(hone_round(v), (int)roundf(v));
        assert_int_equal(hone_round(-v), (int)roundf(-v));
    }
}

static void conversions_to_integers_are_defined_everywhere(void **state)
{
    (void)state;
    const float odd[] = { NAN, INFINITY, -INFINITY, 2147483648.0f, -2147483904.0f, 1e30f };
    for (size_t i = 0; i < HONE_COUNT(odd); i++) {
        assert_int_equal(hone_trunc(odd[i]), INT32_MIN);
        assert_int_equal(hone_round(odd[i]), INT32_MIN);
    }
    assert_int_equal(hone_trunc(-2147483648.0f), INT32_MIN);
    assert_int_equal(hone_trunc(2147483520.0f), 2147483520);
    assert_int_equal(hone_trunc(-1.9f), -1);
    assert_int_equal(hone_nearest(NAN), 0);
    assert_int_equal(hone_nearest(hone_f32_of(0x7fc00123u)), 0); /* whatever its payload */
    assert_int_equal(hone_nearest(0.5f), 0);
    assert_int_equal(hone_nearest(1.5f), 2);
    assert_int_equal(hone_nearest(-2.5f), -2);
    assert_int_equal(hone_nearest(INFINITY), -4194304); /* the bits of the sum, as in ggml */
}

static void lanes_are_the_plain_operations(void **state)
{
    (void)state;
    const float v[] = { 0,    -0.0f, 0.5f,  1.5f, -2.5f, 7.49f, 7.5f,     -8.51f,
                        1e6f, -1e6f, 5e9f, -5e9f, NAN,   1e38f, INFINITY, -INFINITY };
    for (size_t i = 0; i < HONE_COUNT(v); i += HONE_LANES) {
        hone_lanes l = hone_lanes_level(hone_lanes_load(v + i), -8, 7);
        hone_lanes near = hone_lanes_level_near(hone_lanes_load(v + i), -8, 7);
        for (int k = 0; k < HONE_LANES; k++) {
            float want = (float)hone_clamp(hone_nearest(v[i + (size_t)k]), -8, 7);
            assert_true(l[k] == want);
            if (fabsf(v[i + (size_t)k]) < 4e6f) assert_true(near[k] == want);
        }
    }
    const float x[] = { 1, -3, 3, NAN, 2, -3, 0, 0 }, y[] = { NAN, 0, -0.0f, 0 };
    assert_true(hone_peak(8, x) == -3); /* the first of equals */
    assert_true(hone_peak(4, y) == 0);
    assert_false(hone_all_finite(8, x));
    assert_true(hone_all_finite(4, x + 4));
}

/* best_index_int8 of ggml, by its definition: the pair around v, then the nearer of the two. */
static int nearest_level(float v)
{
    if (v <= hone_iq4_values[0]) return 0;
    if (v >= hone_iq4_values[15]) return 15;
    int up = 1;
    while (up < 15 && !(v < hone_iq4_values[up])) up++;
    return v - hone_iq4_values[up - 1] < hone_iq4_values[up] - v ? up - 1 : up;
}
static void iq4_index_is_the_nearest_level(void **state)
{
    (void)state;
    for (int i = -512; i <= 512; i++) {
        float v = (float)i / 4;
        for (int k = 0; k < 64; k++) v = nextafterf(v, -INFINITY);
        for (int k = 0; k < 128; k++, v = nextafterf(v, INFINITY)) {
            int want = nearest_level(v);
            assert_int_equal(hone_iq4_index(v), want);
            assert_true(hone_iq4_level(hone_lanes_all(v))[0] == hone_iq4_values[want]);
        }
    }
    assert_int_equal(hone_iq4_index(NAN), 15);
    assert_int_equal(hone_iq4_index(-INFINITY), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_survives_the_way_there_and_back),
        cmocka_unit_test(f16_values_are_those_of_ieee_754),
        cmocka_unit_test(f16_rounds_to_the_nearest_and_ties_to_even),
        cmocka_unit_test(bf16_rounds_to_the_nearest_and_ties_to_even),
        cmocka_unit_test(rounding_away_from_zero_is_roundf),
        cmocka_unit_test(conversions_to_integers_are_defined_everywhere),
        cmocka_unit_test(lanes_are_the_plain_operations),
        cmocka_unit_test(iq4_index_is_the_nearest_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
