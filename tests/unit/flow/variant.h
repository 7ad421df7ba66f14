/* variant.h - tests/golden/variants: what the tiny checkpoints do not show, each a checkpoint's files with other words in config.json. */
#ifndef HONE_TEST_FLOW_VARIANT_H
#define HONE_TEST_FLOW_VARIANT_H

#define VARIANT_FOLDER HONE_TEST_SOURCE_DIR "/tests/golden/variants"

/* Makes the folder `to`: the base's files, the variant's weights if it has any, and config.json with the variant's keys.  For cmocka tests. */
void variant_assemble(const char *name, const char *to);
#endif
