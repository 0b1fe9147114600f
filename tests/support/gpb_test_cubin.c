//  gpb_test_cubin - what a kernel takes of a multiprocessor, read from the cubin itself
//
//  Every offset is held against the file's size: a file that is laid out in another way fails the
//  test that reads it, and nothing else.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_cubin.h"

#include "gpb_test.h"

#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FORM_SIZED 4
#define ATTRIBUTE_FRAME_SIZE 0x11
#define ATTRIBUTE_MIN_STACK_SIZE 0x12
#define ATTRIBUTE_REGISTERS 0x2f
#define RESERVED_SHARED_SIZE 1024    //  bytes

typedef struct {
    const char *data;
    size_t size;
    Elf64_Ehdr header;
} file_t;

//  Copies size bytes from an offset.
static void
s_read (const file_t *file, uint64_t offset, void *target, size_t size)
{
    ck_assert_msg (size <= file->size && offset <= file->size - size,
                   "the cubin has %zu bytes, and %zu are to be read at %llu", file->size, size,
                   (unsigned long long) offset);
    memcpy (target, file->data + offset, size);
}

static file_t
s_open (const void *data, size_t size)
{
    file_t file = { .data = data, .size = size };
    s_read (&file, 0, &file.header, sizeof file.header);
    ck_assert_msg (memcmp (file.header.e_ident, ELFMAG, SELFMAG) == 0
                       && file.header.e_ident [EI_CLASS] == ELFCLASS64
                       && file.header.e_machine == EM_CUDA
                       && file.header.e_shentsize == sizeof (Elf64_Shdr),
                   "this is no cubin");
    return file;
}

static Elf64_Shdr
s_section (const file_t *file, unsigned index)
{
    Elf64_Shdr section;
    ck_assert_uint_lt (index, file->header.e_shnum);
    s_read (file, file->header.e_shoff + index * sizeof section, &section, sizeof section);
    return section;
}

//  A name that ends within its table of strings.
static const char *
s_string (const file_t *file, const Elf64_Shdr *strings, uint64_t at)
{
    char last;
    ck_assert_uint_gt (strings->sh_size, 0);
    s_read (file, strings->sh_offset + strings->sh_size - 1, &last, 1);
    ck_assert (last == 0 && at < strings->sh_size);
    return file->data + strings->sh_offset + at;
}

//  The section PREFIX or PREFIX.ENTRY. 0, which is none, where there is none.
static unsigned
s_find (const file_t *file, const char *prefix, const char *entry)
{
    char name [256];
    snprintf (name, sizeof name, "%s%s%s", prefix, entry ? "." : "", entry ? entry : "");
    const Elf64_Shdr names = s_section (file, file->header.e_shstrndx);
    for (unsigned index = 1; index < file->header.e_shnum; index++) {
        const Elf64_Shdr section = s_section (file, index);
        if (strcmp (s_string (file, &names, section.sh_name), name) == 0)
            return index;
    }
    return 0;
}

static Elf64_Sym
s_symbol (const file_t *file, const Elf64_Shdr *symbols, uint32_t index)
{
    Elf64_Sym symbol;
    ck_assert_uint_lt (index, symbols->sh_size / sizeof symbol);
    s_read (file, symbols->sh_offset + index * sizeof symbol, &symbol, sizeof symbol);
    return symbol;
}

static unsigned
s_larger (unsigned one, unsigned other)
{
    return one > other ? one : other;
}

//  Goes through .nv.info, whose sh_link is its table of symbols. Answers whether the entry's
//  registers stand there.
static bool
s_read_info (const file_t *file, unsigned code, const char *entry, gpb_test_usage_t *usage)
{
    const Elf64_Shdr info = s_section (file, s_find (file, ".nv.info", NULL));
    const Elf64_Shdr symbols = s_section (file, info.sh_link);
    const Elf64_Shdr names = s_section (file, symbols.sh_link);
    bool found = false;
    struct {
        uint8_t form, attribute;
        uint16_t size;
    } head;
    for (uint64_t at = info.sh_offset; at < info.sh_offset + info.sh_size;
         at += sizeof head + (head.form == FORM_SIZED ? head.size : 0))
    {
        uint32_t pair [2];
        s_read (file, at, &head, sizeof head);
        if (head.form != FORM_SIZED || head.size != sizeof pair)
            continue;
        s_read (file, at + sizeof head, pair, sizeof pair);
        if (head.attribute != ATTRIBUTE_REGISTERS && head.attribute != ATTRIBUTE_FRAME_SIZE
            && head.attribute != ATTRIBUTE_MIN_STACK_SIZE)
            continue;
        const Elf64_Sym symbol = s_symbol (file, &symbols, pair [0]);
        if (symbol.st_shndx != code)
            continue;
        if (head.attribute != ATTRIBUTE_REGISTERS)
            usage->stack_size = s_larger (usage->stack_size, pair [1]);
        else if (strcmp (s_string (file, &names, symbol.st_name), entry) == 0) {
            usage->registers = pair [1];
            found = true;
        }
    }
    return found;
}

gpb_test_usage_t
gpb_test_cubin_usage (const void *data, size_t size, const char *entry)
{
    const file_t file = s_open (data, size);
    gpb_test_usage_t usage = { 0, 0, 0 };
    const unsigned code = s_find (&file, ".text", entry);
    ck_assert_msg (code > 0 && s_read_info (&file, code, entry, &usage),
                   "the cubin has no entry %s", entry);
    const unsigned shared = s_find (&file, ".nv.shared", entry);
    if (shared > 0)
        usage.shared_size = (unsigned) s_section (&file, shared).sh_size;
    if (shared > 0 && s_find (&file, ".nv.shared.reserved.0", NULL) > 0) {
        ck_assert_uint_ge (usage.shared_size, RESERVED_SHARED_SIZE);
        usage.shared_size -= RESERVED_SHARED_SIZE;
    }
    return usage;
}

bool
gpb_test_cubin_has (const void *data, size_t size, const char *section)
{
    const file_t file = s_open (data, size);
    const unsigned index = s_find (&file, section, NULL);
    return index > 0 && s_section (&file, index).sh_size > 0;
}
