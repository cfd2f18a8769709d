#include "cli/lost.hpp"

#include <fmt/format.h>

#include "cli/view/words.hpp"

namespace ripcord::cli {

std::string lost_text(Context& context, const std::string& unit, const LostRollout& lost) {
  auto what = fmt::format("{} did operations of {}, whose beginning the ledger had lost: ", compress_hosts(lost.hosts), lost.rollout);
  auto back = fmt::format("`{}` takes them back", context.command("rollback " + unit));
  if (lost.version.empty()) return what + back;
  return what + fmt::format("`{}` goes on to it and writes down who runs it, ", context.command(fmt::format("apply {}@{}", unit, lost.version))) + back;
}

json::array lost_json(const std::vector<LostRollout>& lost) {
  json::array all;
  for (const auto& l : lost) all.push_back(json::object{{"rollout", l.rollout}, {"version", l.version}, {"hosts", to_json_array(l.hosts)}});
  return all;
}

}  // namespace ripcord::cli
