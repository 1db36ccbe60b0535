/* A Vulkan driver that never answers, as a real one does when its card is wedged. Built by vulkan.rs. */

#include <unistd.h>

int vk_icdNegotiateLoaderICDInterfaceVersion(unsigned *version) {
    (void)version;
    for (;;) pause();
}

void *vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    (void)instance;
    (void)name;
    for (;;) pause();
}
