/** Loaded before a server (`--import`), to tell its parent what it has used so far, as often as that asks. */
const MB = 1024 * 1024

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({
    cpuSeconds: (user + system) / 1e6,
    rssMb: process.memoryUsage.rss() / MB,
    peakMb: process.resourceUsage().maxRSS / 1024,
  })
})
// It keeps no program from ending.
process.channel?.unref()
