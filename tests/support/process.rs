//! What the system says of a process.

use super::Result;

/// User and system time of a process (proc(5), fields 14 and 15), in seconds.
pub(crate) fn processor_time(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().ok_or("no name in stat")?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().ok_or("too few fields in stat")?.parse()?) };
    let all = ticks()? + ticks()?;
    Ok(all / rustix::param::clock_ticks_per_second() as f64)
}
