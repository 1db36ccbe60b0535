/* NVIDIA's driver library of a machine with three devices: a card, one that has fallen off the bus, and a share of a
 * card. Only what is asked for of it. Built by gpus.rs; the facts are repeated there. With HANGS it never answers, with
 * HANGS_LOADING it is never loaded, and with CRASHES it ends the process. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, LOST = 15 };

struct pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
};

struct memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct card {
    const char *name, *uuid, *bus_id;
    unsigned long long memory;
    int major, minor;
    unsigned virtualization;
};

static const struct card cards[] = {
    {"NVIDIA H100 80GB HBM3", "GPU-8b3c1a52-77aa-4c3c-9d1e-0a1b2c3d4e5f", "00000000:3B:00.0", 85520809984ull, 9, 0, 0},
    {NULL, NULL, NULL, 0, 0, 0, 0},
    {"GRID A100-4C", "GPU-11111111-2222-3333-4444-555555555555", "00000000:02:01.0", 4294967296ull, 8, 0, 2},
};

static int copy(char *to, unsigned size, const char *text) {
    if (strlen(text) >= size) return INVALID;
    strcpy(to, text);
    return SUCCESS;
}

#ifdef HANGS_LOADING
__attribute__((constructor)) static void hang(void) {
    for (;;) pause();
}
#endif

int nvmlInit_v2(void) {
#ifdef CRASHES
    abort();
#endif
#ifdef HANGS
    for (;;) pause();
#endif
    return SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int error) { (void)error; return "an error"; }

int nvmlSystemGetDriverVersion(char *version, unsigned size) { return copy(version, size, "550.54.15"); }

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12040;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 3;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, const struct card **device) {
    if (index >= 3) return INVALID;
    *device = &cards[index];
    return cards[index].name ? SUCCESS : LOST;
}

int nvmlDeviceGetName(const struct card *card, char *name, unsigned size) { return copy(name, size, card->name); }

int nvmlDeviceGetUUID(const struct card *card, char *uuid, unsigned size) { return copy(uuid, size, card->uuid); }

int nvmlDeviceGetPciInfo_v3(const struct card *card, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    return copy(pci->bus_id, sizeof pci->bus_id, card->bus_id);
}

int nvmlDeviceGetMemoryInfo_v2(const struct card *card, struct memory *memory) {
    memory->total = card->memory;
    memory->reserved = memory->used = 0;
    memory->free = card->memory;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(const struct card *card, int *major, int *minor) {
    *major = card->major;
    *minor = card->minor;
    return SUCCESS;
}

int nvmlDeviceGetVirtualizationMode(const struct card *card, unsigned *mode) {
    *mode = card->virtualization;
    return SUCCESS;
}
