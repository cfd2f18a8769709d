#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/check.hpp"
#include "cli/look.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "plans/hosts/readiness.hpp"

namespace ripcord::cli {
namespace {

using Result = Check::Result;

// What is done without the ledger must be durable somewhere before it leaves.
Check check_spool(Context& c) {
  auto folder = c.spool_folder();
  auto probe = folder + "/.probe-" + random_hex(4);
  try {
    make_dirs(folder);
    write_file_durable(probe, "doctor\n", 0600);
    ::unlink(probe.c_str());
    return {"spool", folder + " takes entries when the ledger does not", "", Result::ok, Exit::done};
  } catch (const Error& e) {
    ::unlink(probe.c_str());
    return {"spool", e.what(), "without the ledger a rollback notes there what it does: make it writable", Result::failed, Exit::error};
  }
}

Check check_ledger(Context& c) {
  auto opener = c.ledger_opener(Millis(5000));
  if (!opener) return {"ledger", "none on this machine: a rollback is noted in the spool", "", Result::ok, Exit::done};
  try {
    auto store = opener();
    return {"ledger", fmt::format("answers, {} entries", store->size()), "", Result::ok, Exit::done};
  } catch (const Error& e) {
    return {"ledger", e.what(), "a rollback works without it; what it does is noted in the spool", Result::warning, Exit::done};
  }
}

void check_unit(Context& c, std::vector<const Host*> hosts, const std::string& unit, std::vector<Check>& out) {
  auto looks = c.wait(look_back_at(c.loop(), c.ports(), std::move(hosts), unit_ref(c, unit), Verify::full, kLookWidth));
  auto r = readiness(looks);
  bool all = r.exit == Exit::done;
  out.push_back({"way back of " + unit, r.text(), all ? "" : "the hosts below", all ? Result::ok : Result::failed, r.exit});
  for (const auto& h : r.hosts) {
    if (h.state == BackState::ready || h.state == BackState::none) continue;
    auto cure = h.state == BackState::unknown ? "`" + c.command("doctor") + "` tells why it does not answer"
                                            : "pulling the cord puts it right first, from the store or another host, if one has what is lacking";
    out.push_back({h.host, fmt::format("{}{}: {}", to_text(h.state), h.to.empty() ? "" : " way back to " + h.to, h.why), cure, Result::failed, r.exit});
  }
}

}  // namespace

std::vector<Check> check_cord(Context& c, const std::vector<const Host*>& hosts, const std::vector<std::string>& units) {
  std::vector<Check> out{check_spool(c), check_ledger(c)};
  for (const auto& unit : units) check_unit(c, hosts, unit, out);
  return out;
}

}  // namespace ripcord::cli
