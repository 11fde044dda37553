package Nightlight::Disk;

# A disk that is slow, stands still or fails, under a real nginx.
#
#   my $disk = Nightlight::Disk->new($t, 'fdatasync');   # before $t->run()
#   $disk->mode('hold');                    # syncs do not return ...
#   $disk->wait_held(1);                    # ... and one is under way
#   $disk->mode('fail 5');                  # those held, and all others: EIO
#   $disk->mode('delay 0.02');              # every sync takes so many seconds
#   $disk->mode('hold fdatasync');          # only this call
#   $disk->mode('ok');
#
# What is meant by a sync: fdatasync(2), which the module uses for its logs and
# for nothing else, or fsync(2), for all other files and directories, or both.
# nginx and its children run under a seccomp filter that hands the call to a
# process of ours (SECCOMP_RET_USER_NOTIF); nothing of nginx is replaced.

use warnings;
use strict;

use POSIX ();
use Time::HiRes qw(time);
use Test::More ();

# By machine: numbers of the system calls.
my %CALLS = (
    x86_64  => { seccomp => 317, prctl => 157, fsync => 74, fdatasync => 75 },
    aarch64 => { seccomp => 277, prctl => 167, fsync => 82, fdatasync => 83 },
);

use constant {
    NOTIF_RECV => 0xc0502100,
    NOTIF_SEND => 0xc0182101,
    NOTIF_VALID => 0x40082102,
    NOTIF_SIZE => 80,
    CONTINUE   => 1,
};

sub new {
    my ($class, $t, @calls) = @_;
    my $nr = $CALLS{(POSIX::uname())[4]};
    Test::More::plan(skip_all => 'seccomp on this machine') unless $nr;
    my $self = bless { t => $t, nr => $nr, pid => $$,
        calls => \@calls }, $class;
    $self->mode('ok');
    $t->{before_exec} = sub {
        my ($name) = @_;
        $self->_watch() if $name =~ /^nginx/;
    };
    return $self;
}

sub mode {
    my ($self, $mode) = @_;
    my $t = $self->{t};
    $t->write_file('disk.mode.new', "$mode\n");
    rename "$t->{dir}/disk.mode.new", "$t->{dir}/disk.mode" or die;
}

# Syncs that have returned, and that are held now.
sub counts {
    my ($self) = @_;
    return map { $_ || 0 } split ' ', $self->{t}->read_file('disk.counts');
}

sub wait_held {
    my ($self, $n) = @_;
    return $self->{t}->wait_for(sub { ($self->counts())[1] >= $n },
        "$n syncs under way");
}

# In the child that will be nginx: a filter, and a process that serves it.
sub _watch {
    my ($self) = @_;
    my $nr = $self->{nr};
    # ld [nr]; jeq CALL ? notify : next; ...; allow; notify
    my @calls = map { $nr->{$_} } @{$self->{calls}};
    my $code = pack 'SCCL', 0x20, 0, 0, 0;
    $code .= pack 'SCCL', 0x15, @calls - $_, 0, $calls[$_] for 0 .. $#calls;
    $code .= pack 'SCCL' x 2, 0x06, 0, 0, 0x7fff0000, 0x06, 0, 0, 0x7fc00000;
    my $prog = pack 'S x6 P', @calls + 3, $code;
    syscall($nr->{prctl}, 38, 1, 0, 0, 0);
    my $fd = syscall($nr->{seccomp}, 1, 8, $prog);
    die "seccomp: $!" if $fd < 0;
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        POSIX::_exit(0) if fork();
        eval { $self->_serve($fd); 1 } or print STDERR "disk: $@";
        POSIX::_exit(0);
    }
    waitpid($pid, 0);
    POSIX::close($fd);
}

sub _serve {
    my ($self, $fd) = @_;
    my $t = $self->{t};
    my (@held, $said);
    my $done = 0;
    $SIG{INT} = $SIG{TERM} = 'DEFAULT';
    open(my $fh, '+<&=', $fd) or die "listener: $!";
    while (kill 0, $self->{pid}) {
        my $in = '';
        vec($in, $fd, 1) = 1;
        if (select($in, undef, undef, @held ? 0.002 : 0.1) > 0) {
            my $notif = "\0" x NOTIF_SIZE;
            # id, pid, flags, number of the call
            push @held, [(unpack 'QLLL', $notif)[0, 3], time()]
                if ioctl($fh, NOTIF_RECV, $notif);
        }
        my ($mode, @arg) = split ' ', $t->read_file('disk.mode');
        last unless $mode;    # the directory has gone
        my $arg = $mode eq 'hold' ? 0 : shift @arg;
        my $only = @arg ? $self->{nr}{$arg[0]} : 0;
        my @keep;
        for my $h (@held) {
            my ($error, $flags) = (0, CONTINUE);
            my $meant = !$only || $only == $h->[1];
            if ($meant && ($mode eq 'hold'
                || $mode eq 'delay' && time() < $h->[2] + $arg)) {
                # unless the process has died
                push @keep, $h
                    if ioctl($fh, NOTIF_VALID, my $id = pack('Q', $h->[0]));
                next;
            }
            ($error, $flags) = (-$arg, 0) if $meant && $mode eq 'fail';
            ioctl($fh, NOTIF_SEND, my $answer = pack('QqlL', $h->[0], 0,
                $error, $flags));
            $done++;
        }
        @held = @keep;
        my $now = "$done " . @held;
        next if defined $said && $said eq $now;
        $said = $now;
        open(my $f, '>', "$t->{dir}/disk.counts.new") or last;
        print $f "$now\n";
        close $f;
        rename "$t->{dir}/disk.counts.new", "$t->{dir}/disk.counts";
    }
}

1;
