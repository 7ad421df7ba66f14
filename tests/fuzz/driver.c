/* driver.c - runs a fuzz target over files, so that every seed and every former crash is tried on every build, also
 * where there is no libFuzzer.  Usage: fuzz-<name> [FILE | FOLDER]...  A folder is read recursively; one that does not
 * exist counts as empty.  Always tries the empty input first. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t n_inputs;

static void run(const uint8_t *data, size_t size)
{
    /* A copy of exactly this size: the sanitizer sees the first byte read past the end. */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "driver: no memory for %zu bytes\n", size);
        exit(70);
    }
    if (size) memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_inputs++;
}

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(70);
    }
    uint8_t *buf = NULL;
    size_t   len = 0, room = 0, got;
    do {
        if (len == room) {
            room = room ? 2 * room : 65536;
            uint8_t *more = realloc(buf, room);
            if (!more) {
                fprintf(stderr, "driver: '%s' does not fit in memory\n", path);
                exit(70);
            }
            buf = more;
        }
        got = fread(buf + len, 1, room - len, f);
        len += got;
    } while (got > 0);
    if (ferror(f)) {
        perror(path);
        exit(70);
    }
    (void)fclose(f);
    fprintf(stderr, "%s\n", path); /* the last line before a crash names the input */
    run(buf, len);
    free(buf);
}

static void run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return;
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    struct dirent **names = NULL;
    int             n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            size_t len = strlen(path) + strlen(names[i]->d_name) + 2;
            char  *sub = malloc(len);
            if (!sub) exit(70);
            (void)snprintf(sub, len, "%s/%s", path, names[i]->d_name);
            run_path(sub);
            free(sub);
        }
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    run(NULL, 0);
    for (int i = 1; i < argc; i++) run_path(argv[i]);
    printf("%zu inputs\n", n_inputs);
    return 0;
}
