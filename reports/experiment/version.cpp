#include "reports/experiment/version.hpp"

namespace orrery {

const char* version() { return ORRERY_VERSION; }

}  // namespace orrery
