#include "plans/rollout/restage.hpp"

#include <fmt/format.h>

#include "plans/hosts/kept_tree.hpp"

namespace ripcord {
namespace {

Task<> put_right(HostPort& port, PackSource& packs, RestageJob& job) {
  UnitRef ref = job.unit;
  Look before = co_await port.look(ref, Verify::none, false);
  StageOffer offer{job.unit, job.on_hand->sealed.bytes, job.on_hand->sealed.signature, job.labels};
  StageReply reply = co_await port.stage_offer(std::move(offer));
  if (!reply.release.tree.is_zero() && !(reply.release == job.release)) {
    job.failed = fmt::format("the host makes tree {} of release {} now, and its journal says {}: its labels have changed since", reply.release.tree.short_hex(),
                             job.release.version, job.release.tree.short_hex());
    co_return;
  }
  if (reply.complete) co_return;
  std::vector<Digest> lacking = reply.lacking;
  Pack pack = co_await packs.pack(std::move(lacking));
  UnitRef unit = job.unit;
  reply = co_await port.stage_pack(std::move(unit), std::move(pack));
  if (!(reply.release == job.release)) job.failed = "the host completed another release than the one that was damaged";
  UnitRef where = job.unit;
  job.kept = co_await kept_tree(port, std::move(where), before.unit.journal_seq);
}

Task<> one(HostPorts& ports, PackSource& packs, RestageJob& job, Slots& slots) {
  auto slot = co_await slots.acquire();
  auto& port = ports.port(job.host);
  try {
    co_await put_right(port, packs, job);
  } catch (const Error& e) {
    job.failed = e.message();
  }
  port.hang_up();
}

}  // namespace

Task<> restage(Loop& loop, HostPorts& ports, PackSource& packs, std::vector<RestageJob>& jobs, std::size_t width) {
  Slots slots(width);
  TaskGroup group(loop);
  for (auto& job : jobs) group.spawn(one(ports, packs, job, slots));
  co_await group.join();
}

}  // namespace ripcord
