//  gpb_fake_cuda_image - what the fake CUDA driver reads in an image
//
//  A text says by its words what it is, what it was compiled for and which functions it has. A
//  cubin is an ELF file, of which the driver is not told the size either: it follows from the
//  headers, which are believed.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake_cuda_private.h"

#include <ctype.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define CUDA_MACHINE 190    //  EM_CUDA

//  ---------------------------------------------------------------------------------------------------------
//  Cubins

static size_t
s_larger (size_t left, size_t right)
{
    return left > right ? left : right;
}

static const Elf64_Shdr *
s_sections (const char *image)
{
    return (const Elf64_Shdr *) (const void *) (image + ((const Elf64_Ehdr *) image)->e_shoff);
}

static size_t
s_elf_size (const char *image)
{
    const Elf64_Ehdr *header = (const void *) image;
    const Elf64_Shdr *sections = s_sections (image);
    size_t size = s_larger (header->e_shoff + (size_t) header->e_shnum * sizeof *sections,
                            header->e_phoff + (size_t) header->e_phnum * header->e_phentsize);
    for (unsigned index = 0; index < header->e_shnum; index++)
        if (sections [index].sh_type != SHT_NOBITS)
            size = s_larger (size, sections [index].sh_offset + sections [index].sh_size);
    return size;
}

//  The byte of the flags that has the architecture is another one since ABI 8.
static unsigned
s_elf_capability (const char *image)
{
    const Elf64_Ehdr *header = (const void *) image;
    return header->e_ident [EI_ABIVERSION] >= 8 ? header->e_flags >> 8 & 0xff
                                                : header->e_flags & 0xff;
}

//  The section of that name behind the prefix, or NULL.
static const Elf64_Shdr *
s_find_section (const char *image, const char *prefix, const char *name)
{
    const Elf64_Ehdr *header = (const void *) image;
    const Elf64_Shdr *sections = s_sections (image);
    const char *names = image + sections [header->e_shstrndx].sh_offset;
    const size_t length = strlen (prefix);
    for (unsigned index = 0; index < header->e_shnum; index++) {
        const char *section = names + sections [index].sh_name;
        if (strncmp (section, prefix, length) == 0 && strcmp (section + length, name) == 0)
            return &sections [index];
    }
    return NULL;
}

//  A function's parameters stand in its .nv.info, a list of attributes: a byte of format, one that
//  says what it is, and two that are its value, or the size of the value that follows. That of a
//  parameter has its number in the bytes from 4 on, and its size in the upper bits of the last
//  four.
static void
s_elf_parameters (const char *image, const char *name, gpb_fake_cuda_function_t *function)
{
    enum { FORMAT_SIZED = 4, ATTRIBUTE_PARAMETER = 0x17, PARAMETER_SIZE = 12 };
    const Elf64_Shdr *section = s_find_section (image, ".nv.info.", name);
    if (!section)
        return;
    const unsigned char *at = (const unsigned char *) image + section->sh_offset;
    const unsigned char *end = at + section->sh_size;
    while (end - at >= 4) {
        uint16_t size, number;
        uint32_t bits;
        const bool is_sized = at [0] == FORMAT_SIZED;
        memcpy (&size, at + 2, sizeof size);
        if (is_sized && size > end - at - 4)
            return;
        if (is_sized && at [1] == ATTRIBUTE_PARAMETER && size == PARAMETER_SIZE) {
            memcpy (&number, at + 8, sizeof number);
            memcpy (&bits, at + 12, sizeof bits);
            if (number < GPB_FAKE_CUDA_PARAMETERS_MAX) {
                function->parameters [number] = bits >> 18;
                if (function->parameters_count <= number)
                    function->parameters_count = number + 1u;
            }
        }
        at += 4 + (is_sized ? size : 0);
    }
}

static CUresult
s_check_elf (const char *image, size_t *size)
{
    const Elf64_Ehdr *header = (const void *) image;
    if (header->e_ident [EI_CLASS] != ELFCLASS64 || header->e_machine != CUDA_MACHINE
        || header->e_shentsize != sizeof (Elf64_Shdr) || header->e_shstrndx >= header->e_shnum)
        return CUDA_ERROR_INVALID_IMAGE;
    *size = s_elf_size (image);
    return s_elf_capability (image) == gpb_fake_cuda_driver.capability
               ? CUDA_SUCCESS
               : CUDA_ERROR_NO_BINARY_FOR_GPU;
}

//  ---------------------------------------------------------------------------------------------------------
//  Texts

static bool
s_is_of_a_word (char c)
{
    return isalnum ((unsigned char) c) || c == '_' || c == '$';
}

static bool
s_text_has (const char *text, const char *name)
{
    const size_t length = strlen (name);
    for (const char *at = text; length && (at = strstr (at, name)) != NULL; at++)
        if ((at == text || !s_is_of_a_word (at [-1])) && !s_is_of_a_word (at [length]))
            return true;
    return false;
}

//  What a text says that it was compiled for; 0: nothing.
static unsigned
s_text_capability (const char *text)
{
    const char *at = strstr (text, "sm_");
    return at ? (unsigned) strtoul (at + 3, NULL, 10) : 0;
}

static CUresult
s_check_text (const char *image, size_t *size)
{
    const bool is_ptx = strstr (image, ".version") != NULL;
    const unsigned capability = s_text_capability (image);
    *size = strlen (image) + 1;
    if (!is_ptx && !strstr (image, "fake cubin"))
        return CUDA_ERROR_INVALID_IMAGE;
    if (is_ptx && strstr (image, "syntax error"))
        return CUDA_ERROR_INVALID_PTX;
    if (capability > gpb_fake_cuda_driver.capability
        || (!is_ptx && capability && capability != gpb_fake_cuda_driver.capability))
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    return CUDA_SUCCESS;
}

//  ---------------------------------------------------------------------------------------------------------
//  Either

static bool
s_is_elf (const char *image)
{
    return strncmp (image, ELFMAG, SELFMAG) == 0;
}

CUresult
gpb_fake_cuda_image_check (const char *image, size_t *size)
{
    return s_is_elf (image) ? s_check_elf (image, size) : s_check_text (image, size);
}

bool
gpb_fake_cuda_image_has (const char *image, const char *name)
{
    return s_is_elf (image) ? s_find_section (image, ".text.", name) != NULL
                            : s_text_has (image, name);
}

bool
gpb_fake_cuda_image_parameters (const char *image, const char *name,
                                gpb_fake_cuda_function_t *function)
{
    if (!s_is_elf (image))
        return false;
    s_elf_parameters (image, name, function);
    return true;
}
