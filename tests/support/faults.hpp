// Faults of system calls by strace's injection, on the real programs: the n-th state-changing call of every process of one kind is
// answered by SIGKILL or by an error. Only the process itself is traced, never its children.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/base/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {

struct Injection {
  int at = 1;                // the n-th of each call, in each process; 0: only traced
  bool for_good = false;     // that one and every later one; else once
  std::string error;         // "ENOSPC"; empty: SIGKILL
  std::string calls = "fsync,fdatasync,syncfs,rename,renameat,renameat2,symlink,symlinkat,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,pwrite64,"
                      "ftruncate,fallocate,fchmod,fchown,fchmodat,fchownat,utimensat";  // what changes something that stays
};

bool strace_works();         // installed, and this container lets it trace

// The controller under strace, its helpers not.
Command traced_controller(Command command, const Injection& injection, const std::string& log);

// A host program that runs the real one under strace: for RIPCORD_HOST_PROGRAM. `hosts`: only where the command line holds one of these words.
std::string traced_helper(const TempDir& folder, const Injection& injection, const std::string& hosts, const std::string& log);

// Which calls were made in a traced run without injection: ("fsync", 1), ("fsync", 2) ... up to what the busiest process made of each.
// strace counts every call by itself, so this is the list that a sweep goes through.
std::vector<std::pair<std::string, int>> calls_made(const std::string& log);
// Whether something was injected.
int injected(const std::string& log);

}  // namespace ripcord::test
