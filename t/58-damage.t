#!/usr/bin/perl
# Blocks that are damaged, cut short or gone while nginx serves them: no
# process dies, answers have all of a block or nothing of it and say so, and
# the block goes to quarantine.
use strict;
use warnings;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

my $t = Nightlight::Test->new(formats => 1);
$t->write_conf(store => 'memory=24m retention=10y wal_sync=1s');
$t->run();

my $store = $t->dir . '/store';
my $series = 150;
my $samples = 120;
# two hours of months that are over: each becomes a block, and stays one
my $border = int(time() / 7200) * 7200;
my @from = map { $border - $_ * 40 * 86400 } 4, 3, 2, 1;
my $live = time() - 60;

sub write_window {
    my ($from) = @_;
    my $pb = '';
    for my $i (1 .. $series) {
        $pb .= Nightlight::Test::series_pb({ __name__ => 'd', i => $i,
                w => $from },
            map { [($from + 60 * $_) * 1000, $i * $_ / 7] } 0 .. $samples - 1);
    }
    is($t->write_pb($pb)->{status}, 204, 'written');
}

write_window($_) for @from;
is($t->http('POST', '/-/flush')->{status}, 204, 'flush asked for');
$t->wait_for(sub { ($t->metric('nightlight_blocks') || 0) == @from
    && !-e "$store/wal/0000000000000001.wal" }, 'blocks');
is($t->write(map { ({ __name__ => 'd', i => $_, w => 'live' },
    [int($live * 1000), $_]) } 1 .. $series), 204, 'and some that stay');

# Directory of the block that begins in a window.
sub block_of {
    my ($from) = @_;
    for my $dir (glob "$store/blocks/*") {
        my $meta = decode_json($t->read_file("$dir/meta.json"));
        return $dir if abs($meta->{minTime} / 1000 - $from) < 7200;
    }
    die "no block from $from";
}

sub ulid { my ($dir) = @_; return $dir =~ m{([^/]+)$} ? $1 : '' }

# (samples that are there, warnings)
sub ask {
    my ($port) = @_;
    my $r = $t->api('query', query => 'sum(count_over_time(d[1y]))',
        time => $live + 60);
    die "status $r->{code}: $r->{raw}\n" unless $r->{code} == 200;
    return ($r->{data}{result}[0]{value}[1], $r->{warnings} || []);
}

my $all = @from * $series * $samples + $series;
my ($n, $w) = ask();
is($n, $all, 'everything is there');
is_deeply($w, [], 'without warnings');

# ---- readers, who look all the time ----

my %workers = map { $_ => 1 } $t->workers();
my %helpers = map { $_ => 1 } $t->helpers();
for my $r (1, 2) {
    my $pid = fork();
    die unless defined $pid;
    if (!$pid) {
        $SIG{INT} = $SIG{TERM} = 'DEFAULT';
        open(my $out, '>', $t->dir . "/reader.$r");
        $out->autoflush(1);
        my $asked = 0;
        until (-e $t->dir . '/readers.stop') {
            my ($n, $w) = eval { ask() };
            if ($@) { print $out "bad: $@" }
            elsif ($n != $all - @$w * $series * $samples) {
                print $out "bad: $n samples with " . @$w . " warnings\n";
            }
            print $out "$asked\n" if ++$asked % 10 == 0;
        }
        POSIX::_exit(0);
    }
    push @{$t->{pids}}, $pid;
}

sub readers_went_on {
    my ($what) = @_;
    my $before = -s $t->dir . '/reader.1';
    ok($t->wait_for(sub { -s $t->dir . '/reader.1' > $before }, 'reader'),
        "$what: queries go on");
}

# ---- a chunk file is cut short, an index too, a chunk is changed ----

my $damaged = 0;
my @gone;
my $backup = $t->dir . '/backup';
mkdir $backup;
system('cp', '-r', block_of($from[1]), $backup) == 0 or die 'cp';
for my $how ('chunks cut short', 'index emptied', 'chunk changed') {
    my $dir = block_of($from[$damaged]);
    my $ulid = ulid($dir);
    if ($how eq 'chunks cut short') {
        truncate("$dir/chunks/000001", 5000) or die $!;
    } elsif ($how eq 'index emptied') {
        truncate("$dir/index", 0) or die $!;
    } else {
        my $size = -s "$dir/chunks/000001";
        open(my $f, '+<', "$dir/chunks/000001") or die $!;
        seek($f, $size / 2, 0);
        print $f "damage";
        close $f;
    }
    $damaged++;
    push @gone, $ulid;
    ok($t->wait_for(sub { -d "$store/quarantine/$ulid" && !-d $dir },
        'quarantine'), "$how: in quarantine");
    ok($t->wait_for(sub { (ask())[0]
        == $all - $damaged * $series * $samples }, 'missing'),
        "$how: missing as a whole");
    my ($n, $w) = ask();
    is(@$w, $damaged, "$how: a warning for each");
    ok((grep { /^block $ulid is damaged, its samples are missing: / } @$w),
        "$how: that names the block") or diag(explain($w));
    my @lines = $t->log_lines(qr/$ulid/);
    is(@lines, 1, "$how: one line in the log") or diag(join "\n", @lines);
    like($lines[0], qr/\[crit\].* block $ulid is damaged: .*; its 18000/,
        "$how: what");
    like($lines[0], qr/ from 2\S+ to 2\S+ are missing now.* quarantine\/; copy/,
        "$how: where, and what to do");
    is($t->metric('nightlight_blocks_quarantined_total'), $damaged,
        "$how: counted");
    is($t->metric('nightlight_blocks_left_out'), $damaged, "$how: shown");
    readers_went_on($how);
}

# ---- everything that reads says so; other times do not ----

my %range = (start => $from[0], end => $live + 60);
my $step = 86400;
for my $q ([query_range => query => 'count(d)', %range, step => $step],
    [series => 'match[]' => 'd', %range], [labels => %range],
    [labels => 'match[]' => 'd', %range], ['label/i/values' => %range],
    [query => query => 'd[1h]', time => $from[2] + 5400]) {
    my ($path, @p) = @$q;
    my $r = $t->api($path, @p);
    is($r->{code}, 200, "$path answers");
    cmp_ok(@{$r->{warnings} || []}, '>=', 1, "$path warns") or diag($r->{raw});
}
my $r = $t->api('query', query => 'count(d)', time => $live);
is($r->{data}{result}[0]{value}[1], $series, 'a query of the last minutes');
is($r->{warnings}, undef, 'has nothing to warn of');
is(@{$t->api('series', 'match[]' => 'd', %range)->{data}}, 2 * $series,
    'series of what is left');

# ---- the readers ----

$t->write_file('readers.stop', '');
for my $pid (splice @{$t->{pids}}, -2) {
    waitpid($pid, 0);
}
for my $r (1, 2) {
    my @bad = grep { /^bad/ } split /\n/, $t->read_file("reader.$r");
    is_deeply(\@bad, [], "reader $r: all or nothing of each block");
}
is_deeply([grep { !$workers{$_} } $t->workers()], [], 'no worker died');
is_deeply([grep { !$helpers{$_} } $t->helpers()], [], 'nor the helper');

# ---- the operator sees to it ----

is(system('rm', '-r', "$store/quarantine/$gone[0]"), 0, 'one is given up');
ok($t->wait_for(sub { @{(ask())[1]} == 2 }, 'warning gone', 20),
    'and is not missed any more');
is(system('cp', '-r', "$backup/$gone[1]", "$store/import/"), 0,
    'of another there is a good copy');
ok($t->wait_for(sub { @{(ask())[1]} == 1 }, 'adopted', 30),
    'which is not missed any more');
is((ask())[0], 2 * $series * $samples + $series, 'and is read');

# ---- a start with damaged blocks ----

ok($t->stop(), 'stopped');
my $dir = block_of($from[3]);
open(my $f, '+<', "$dir/index") or die $!;
seek($f, 100, 0);
print $f "damage";
close $f;
$t->run();
ok($t->wait_for(sub { -d "$store/quarantine/" . ulid($dir) }, 'quarantine'),
    'found at the start');
($n, $w) = ask();
is($n, $series * $samples + $series, 'the rest is there');
is(@$w, 2, 'what is missing is said');
is($t->metric('nightlight_blocks_left_out'), 2, 'as the metric says');

# ---- quarantine/ itself is removed ----

is(system('rm', '-r', "$store/quarantine"), 0, 'all of them are given up');
ok($t->wait_for(sub { @{(ask())[1]} == 0 }, 'warnings gone', 20), 'none is missed');
($dir) = glob "$store/blocks/*";
truncate("$dir/chunks/000001", 20) or die $!;
ok($t->wait_for(sub { ask(); -d "$store/quarantine/" . ulid($dir) }, 'quarantine'),
    'the next one lies in a new quarantine/');

$t->done();
