module alos.test/interop/published

go 1.26

require alos.test/interop v0.0.0

replace alos.test/interop => ../
