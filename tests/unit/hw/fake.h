/* fake.h - a machine made of files: /proc, /sys and /dev of one test. */
#ifndef HONE_TESTS_HW_FAKE_H
#define HONE_TESTS_HW_FAKE_H
#include "hw/hw.h"

void fake_open(void); /* an empty machine; ends the program when it cannot be made */
void fake_close(void);
const hone_hw_roots *fake_roots(void); /* no topology */
/* A file with this text, folders made; path as "sys/class/net/eth0/speed". */
void fake_put(const char *path, const char *text);
/* A symbolic link whose text is target; folders made. */
void fake_link(const char *path, const char *target);
/* Runs one probe on the fake machine; json_decref the result. */
json_t *fake_probe(hone_hw_probe_fn run);
/* Asserts on one key of a probe's object. */
void fake_is_str(const json_t *o, const char *key, const char *want);
void fake_is_int(const json_t *o, const char *key, long long want);
void fake_is_absent(const json_t *o, const char *key, const char *why);
#endif
